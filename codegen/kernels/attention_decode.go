package kernels

// Attention (decode): rows x kv heads x splits over a paged cache.
