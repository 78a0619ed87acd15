// Package bandwidth measures what a machine can read from its memory: the ceiling of a decode step, which has to read
// every weight once.
//
// Border law: a leaf; standard library only.
package bandwidth

import (
	"sync"
	"time"
)

// bufferBytes is far beyond any cache; passes is how often each thread reads it.
const (
	bufferBytes = 256 << 20
	passes      = 3
)

// Read is the best rate, in GB/s, at which threads read memory at the same time, each a part of one buffer.
func Read(threads int) float64 {
	buf := make([]uint64, bufferBytes/8)
	per := len(buf) / threads &^ 63
	sums := make([]uint64, threads*8) // a cache line each
	parallel(threads, func(i int) {   // pages get memory where they are read from
		for j := range buf[i*per : (i+1)*per] {
			buf[i*per+j] = uint64(j)
		}
	})
	best := 0.0
	for range passes {
		start := time.Now()
		parallel(threads, func(i int) { sums[i*8] += sum(buf[i*per : (i+1)*per]) })
		best = max(best, float64(threads*per*8)/time.Since(start).Seconds()/1e9)
	}
	return best
}

func parallel(threads int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// sum reads every cache line of v, whose length is a multiple of 64, and stays ahead of memory: one load a line is
// what the bus sees, whatever a kernel does with the rest of it.
func sum(v []uint64) uint64 {
	var a, b, c, d uint64
	const line = 8
	for i := 0; i < len(v); i += 4 * line {
		x := (*[4 * line]uint64)(v[i:])
		a += x[0]
		b += x[line]
		c += x[2*line]
		d += x[3*line]
	}
	return a + b + c + d
}
