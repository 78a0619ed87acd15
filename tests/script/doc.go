// Package script tests the command line as people and scripts meet it: testscript files in testdata, one a command or
// a claim, run the built binary on the tiny models of tests/e2e/reference.
//
// Beside testscript's own commands a file may use
//
//	exits CODE ARGS...      quire ARGS ends with that code; stderr of a failure begins with "quire: "
//	refuses CODE ARGS...    the same, and stdout is empty
//	object NAME:TYPE...     stdout of the last command is exactly one JSON object with fields of these types:
//	                        string number bool array object, any
//	field PATH VALUE        the JSON value at a path like passes.0.name of the last stdout is VALUE, as JSON
//	interrupts ARGS...      quire ARGS, sent SIGINT after a while, ends with 130 and an empty stdout
//
// The condition [smollm2] holds where the default model is in the user's cache. $REF is the folder of reference models, $CACHE a cache folder that all scripts share.
package script
