// Package target holds facts about the machines that kernels are compiled for.
//
// A Target is data: names, features, sizes. What follows from them (which kernel,
// which block size) is decided by whoever reads them. The one action here is Host,
// which asks the processor that runs us; it trusts cpuid's feature bits and nothing
// else, because virtual machines report wrong model numbers.
//
// Border: imports golang.org/x/sys/{cpu,unix} and the standard library only.
package target
