// Package arch holds the house to its own rules: who may import whom, how long a
// file may be, what a package must say of itself. A law is a sentence and a check;
// laws_test.go is the table. The laws bind what ships, not tests.
//
// Border law: tests only; imports the standard library, and quire/ir/work to know
// the kernel families.
package arch
