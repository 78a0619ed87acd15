package kernel

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/metadata"
)

// A traced module keeps the author's line beside what touches memory or calls an
// intrinsic; its source_filename says that it does. The text of others has no positions,
// so that it depends on the kernel alone.
const traced = "traced"

// Trace keeps authors' lines from here on.
func (m *Module) Trace() *Module {
	m.m.SourceFilename = traced
	return m
}

// mark notes the author's line.
func mark(b *ir.Block, to *ir.Metadata) {
	if b.Parent == nil || b.Parent.Parent == nil || b.Parent.Parent.SourceFilename != traced {
		return
	}
	line := &metadata.Tuple{Fields: []metadata.Field{&metadata.String{Value: author()}}}
	*to = append(*to, &metadata.Attachment{Name: traced, Node: line})
}

// Line is the author's line of an instruction, "" where it has none.
func Line(i ir.Instruction) string {
	has, ok := i.(interface {
		MDAttachments() []*metadata.Attachment
	})
	if !ok {
		return ""
	}
	for _, a := range has.MDAttachments() {
		if a.Name == traced {
			return a.Node.(*metadata.Tuple).Fields[0].(*metadata.String).Value
		}
	}
	return ""
}
