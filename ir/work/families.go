package work

// families are the kernel families, each by its zero parameters.
var families = []Params{
	Linear{}, Norm{}, RopeTable{}, Rope{}, Embed{}, Gather{}, Slice{}, TakeHeads{}, MergeHeads{},
	Map{}, Round{}, KVStore{}, Attention{}, HeadGroups{}, PageSelect{}, Reduce{},
	DecodeGPU{}, HeadGroupsGPU{}, PrefillGPU{}, Summarise{}, PageSelectGPU{}, GEMV{}, GEMM{}, Sweep{}, Sample{}, Noise{},
}

// Families returns the zero parameters of every kernel family, in table order.
func Families() []Params { return append([]Params(nil), families...) }

// Zero returns the zero parameters of a family by name.
func Zero(family string) (Params, bool) {
	for _, f := range families {
		if f.Family() == family {
			return f, true
		}
	}
	return nil, false
}
