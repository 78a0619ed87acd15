// Command report runs a `go test` and says what it did not run.
//
//	go run ./tests/report go test ./...
//
// It prints what go test prints, then a line for every test that was skipped, with the
// reason that the test gave. With QUIRE_REQUIRE_DATA set, as CI does, a skip is a failure
// unless its reason begins with one of the allowed: what CI's machines do not have.
//
// Border law: the standard library only.
package main
