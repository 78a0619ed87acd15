// Package runtime runs compiled Programs: the embedder's API. A service that imports it
// links no compiler and needs no LLVM.
//
//	rt, err := runtime.Open(ctx, runtime.NewConfig().WithDevice(runtime.CPU).WithThreads(2))
//	defer rt.Close(ctx)                      // closes everything it opened
//	prog, err := rt.Load(ctx, "model.quire") // checks version, digests, bounds, processor
//	sess, err := prog.NewSession(ctx)        // one sequence of tokens
//	logits, err := sess.Prefill(ctx, tokens) // then sess.Decode(ctx, token), or
//	for piece, err := range sess.Generate(ctx, runtime.GenerateOptions{Prompt: tokens}) { ... }
//
// A Runtime, a Program and its sessions may be used by many goroutines; one Session by one
// at a time. Sessions that ask at the same time share steps: the rows of all go through
// the model together. What a row computes does not depend on what the rows beside it are.
// Kernels for one row, a few and many add in different orders, so that how many there are
// shows in the last bits (about 1e-6 of a row's norm).
//
// Manners: everything returns errors, nothing panics, nothing logs, no signal handler is
// installed. A context cancels between steps: what a session was fed before stays in it.
// Config values are immutable. Close waits for the running step or its context, frees
// everything, and may be called again.
//
// Border law: runtime and the packages below it import quire/ir/types/... and quire/ir/work
// of the compiler, never quire/ir, passes, codegen or frontends.
//
// Reading order: config.go, runtime.go, machine.go, session.go, generate.go, score.go, then engine.go
// and batch.go, the scheduler.
package runtime
