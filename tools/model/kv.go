package model

import "quire/passes/kvquant"

// kvBits turns the option of a command line or spec into the pass's: 0 for caches of floats,
// which the frontend makes.
func kvBits(kv string) kvquant.Bits {
	return map[string]kvquant.Bits{"int8": kvquant.KV8, "int4": kvquant.KV4}[kv]
}
