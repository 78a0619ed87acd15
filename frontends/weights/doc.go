// Package weights opens the files that hold a model and lists what is in them: a GGUF file, a Hugging Face
// directory (config.json beside model.safetensors or its shards), or one .safetensors file. Tensors are slices of a
// read-only memory mapping, never copies; their meaning is package block's.
//
// Border law: this package knows file formats and no model family. It imports ir/types/block and no other room; what
// a key of the metadata or a tensor's name means is frontends/decoder's business, what config.json says too.
//
// A model file is untrusted input. Every count, length and offset is checked against the file's real size before
// anything is allocated or sliced, and an error (of type *Error) names file, tensor or key, what was seen and what
// was expected. Nothing here panics, recurses on input or allocates by a number that a file claims.
//
// # Files that change while they are open
//
// A mapped file that another process cuts short makes the next read of the lost pages a SIGBUS, which ends a Go
// process. Against that: files are opened read-only under a shared advisory lock; Source.Check compares size and
// time with those at opening; Tensor.ReadAt copies under debug.SetPanicOnFault and turns the fault into an error;
// Options.NoMmap reads files whole into memory that no other process can touch (for network disks). What remains: a
// kernel compiled to machine code that reads a mapping of a file which is cut at that very moment dies. Programs that
// replace model files must rename over them, as `quire pull` does, never truncate them.
//
// # Unaligned tensors
//
// safetensors promises no alignment, and old files have none. Tensor.Data is bytes, which block.Decode reads at any
// address; Tensor.Aligned says whether they may be read as elements in place. Who wants elements copies otherwise.
//
// Reading order: Open, Source, Tensor; gguf.go, safetensors.go and hf.go are the three formats; WriteGGUF and
// WriteSafetensors make small real files for tests and tools.
package weights
