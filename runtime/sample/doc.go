// Package sample chooses a token from one row of logits, and finds stop strings in the
// text that tokens become.
//
// The order of the steps, that of Hugging Face transformers:
//
//	1  repetition penalty   tokens of the prompt and of the reply: a positive logit is
//	                        divided by it, a negative one multiplied
//	2  frequency, presence  tokens of the reply: minus Frequency for each time it came,
//	                        minus Presence once
//	3  temperature          logits are divided by it; 0 takes the greatest, ties to the lower id
//	4  top-k                the k greatest stay
//	5  top-p                of those, in order, the fewest whose probabilities reach p
//	6  min-p                of those, the ones with at least MinP times the greatest probability
//	7  draw                 one number of a PCG generator; equal seeds draw equal tokens
//
// A row with a NaN, or without any finite greatest value, is an error: a model that is
// broken must not go on as text.
//
// A device may choose in a Sampler's place, by the numbers that Draws gives: see Took.
//
// Nothing sorts the whole vocabulary: top-k keeps a heap of k, top-p looks at the greatest
// few and widens only when they do not reach p.
//
// Border law: a leaf; standard library only.
//
// Reading order: sample.go, select.go, stops.go.
package sample
