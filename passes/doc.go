// Package passes says what a pass is: a named rewrite of a Module with the
// properties it needs and gives and one honest word about numbers. It runs
// pipelines and lets observers watch. No pass lives here.
//
// Border law: imports quire/ir and the standard library. Passes live one idea a
// package below (canon, siblings, awq, fuse, lower, plan); the order in which
// they run, and why, is passes/pipeline. passes and codegen never import each
// other: their contract is the Kernel level of the IR.
//
// Read pass.go, run.go, then the observers, a file each.
package passes
