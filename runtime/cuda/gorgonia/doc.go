// Package gorgonia lets Programs share a CUDA context and stream of gorgonia.org/cu, so that they
// run beside a Gorgonia graph on one GPU. All of it is behind the build tag gorgonia: that library
// needs cgo, CUDA 12's headers when it is compiled (newer ones it does not compile with) and
// libcuda when its program starts. Without the tag the package is empty.
//
//	c := gorgonia.Share(runtime.NewConfig().WithDevice(runtime.CUDA), context, stream)
//
// A context belongs to its threads: Quire makes it current on the thread of each of its calls, and
// leaves it so. Work of both sides on one stream runs in the order in which it was put there; the
// stream must be one that cu.MakeStream made, since the default one cannot be captured.
//
// Border law: imports quire/runtime and gorgonia.org/cu, which nothing else imports.
package gorgonia
