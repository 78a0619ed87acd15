// Package plan gives buffers memory: values to slots by lifetime, so that a step
// needs no more than what is alive at once.
//
// Border law: imports quire/ir, quire/ir/types and quire/passes.
package plan
