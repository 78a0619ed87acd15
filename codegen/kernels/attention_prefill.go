package kernels

// Attention (prefill): blocks of rows x kv heads over a paged cache.
