// Package lower takes a module toward a machine: it makes Kernel-level
// specialisations of the step function (one launch an op), and, after fusion has
// clustered launches, chooses a compiled kernel for each part.
//
// Border law: imports quire/ir, quire/ir/work, quire/ir/target and quire/passes.
// It chooses kernels by their parameters (quire/ir/work) and knows no kernel body.
//
// Read specialise.go, then match.go: Match is the one place that says which body
// of graph ops is which kernel; linear.go, qkv.go and join.go are its largest part. summaries.go adds launches that only a GPU needs;
// warpgroups.go looks at kernels once all are chosen, for products that agree with what
// writes their rows.
package lower
