// Package chat turns a conversation into the text that a model was trained to see, by its chat template (Jinja).
//
// A template ships inside a model file, so it is a program by a stranger, and the engine that runs it has neither a step
// nor a memory limit. There are three doors:
//
//	New      takes a template that the built-in list knows by hash (known.go): published ones, looked at and tried
//	Admit    tries any other one in a child process with limits first: for a program that can re-execute itself
//	Trusted  takes the caller's word: for a library in somebody's service, which has no child
//
// A template that gets through none of them is an *UntrustedError, which names the family's own template ([Builtin]) as
// the way out. Whatever the door, a template is refused beforehand if it is larger than 256 KiB, nests too deeply, or
// holds a macro that calls itself (check.go), and when it renders, ranges and output are bounded.
//
// A program that calls Admit calls [ChildMain] first thing in main.
//
// Border law: this package knows text, not ids; it imports nothing of ours.
package chat
