// Package kv decides which physical page holds which tokens of which sequence. It is
// bookkeeping: the bytes live in the device.
//
// Each table of a Program (quire/runtime/program.Table) has its own physical pages, which
// all caches on it share: physical page 7 is page 7 of each of its layers. A Sequence has a
// page table for each. Logical page i holds tokens i*Page to (i+1)*Page-1 in cache order. A
// table that keeps only sink + recent tokens frees pages once no later row can see a
// token of theirs, and one page later still (Slack), so that a kernel that reads whole
// pages never meets a reused one; its freed entries are None.
//
// A step is: Reserve (pages for its rows, all or none), run, Commit. Reserve without
// Commit changes nothing that a later Reserve would not use.
//
//	pool := kv.New([]kv.Table{{Page: 64}}, []int{1000}, 8192)
//	seq := pool.NewSequence()
//	seq.Reserve(100)
//	copy(entries, seq.Pages(0))
//	seq.Commit(100)
//
// Fork shares pages between sequences until one writes: full pages stay shared, the last
// one, if it is part full, is copied by the device.
//
// Border law: a leaf; standard library only. Not safe for concurrent use: the runtime's
// scheduler owns it.
package kv
