// Package noise makes the random weights of models that have no file: the same numbers on every machine, at any
// position, in any order, so that a loader may make them a tile at a time on many threads.
//
// Border law: a leaf of ir/types; it imports the standard library only.
//
// Element i of a stream is mean + std * (s - 131070) / 37837.2, where s is the sum of the four 16-bit fields of
// splitmix64's output number i for the stream's seed (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
// Generators", 2014). That is near a normal distribution, cut at 3.46 standard deviations, and needs integers and one
// multiplication.
package noise

import "hash/fnv"

// What a stream is made of, for code that makes the same one elsewhere (ir/work.Noise): a
// state's step, the two factors of Mix and the middle of the sums.
const (
	Golden = 0x9e3779b97f4a7c15
	Mix1   = 0xbf58476d1ce4e5b9
	Mix2   = 0x94d049bb133111eb
	Centre = 4 * 0xffff / 2
)

const spread = 37837.22746802315 // sqrt(4 * (2^32 - 1) / 12)

// Seed mixes the seed of a model with the name of a weight.
func Seed(seed int64, name string) int64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return int64(mix(uint64(seed)*Golden ^ h.Sum64()))
}

// Scale is what s - Centre is multiplied by for a standard deviation.
func Scale(std float64) float64 { return std / spread }

// Fill writes elements first, first+1, ... of the stream.
func Fill(dst []float32, seed, first int64, mean, std float64) {
	state := uint64(seed) + uint64(first)*Golden
	scale := Scale(std)
	for i := range dst {
		state += Golden
		z := mix(state)
		s := int64(z&0xffff) + int64(z>>16&0xffff) + int64(z>>32&0xffff) + int64(z>>48)
		dst[i] = float32(mean + float64(scale*float64(s-Centre)))
	}
}

// mix is splitmix64's output function.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * Mix1
	z = (z ^ z>>27) * Mix2
	return z ^ z>>31
}
