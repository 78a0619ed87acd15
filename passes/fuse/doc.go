// Package fuse clusters launches: bodies grow, no new op is ever made. A cluster is
// accepted only if lower.Match knows a kernel for it; where a reader could have
// expected a fusion, the miss says why.
//
// Border law: imports quire/ir, quire/passes and quire/passes/lower.
//
// Read cluster.go (merging two launches), then rules.go (which ones, and why).
package fuse
