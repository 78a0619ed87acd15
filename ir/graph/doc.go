// Package graph is a Func seen as a gonum graph.Directed: who must come before
// whom, topological order, dominators, reachability. It serves drawings and tests;
// passes look at args and uses themselves.
//
// Border law: this package imports quire/ir, quire/ir/types and gonum.org/v1/gonum,
// nothing else. gonum enters the compiler here only.
//
// Nodes are Values: parameters, weight references, and what stands in the body (at
// Kernel level buffers and launches). An edge from u to v says that u must come
// before v, because v reads u, or, state being linear, because
//
//   - u reads the cache version that v consumes (Graph level);
//   - u and v are launches that touch one place, at least one of them writing it: a
//     cache, a buffer, or a memory slot that two buffers share (Kernel level).
//
// The view holds the Func as it was: make a new one after changing it.
package graph
