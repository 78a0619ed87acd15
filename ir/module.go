package ir

import (
	"slices"

	"quire/ir/types"
)

// When says at which moment a dim becomes known.
type When uint8

// The moments of binding. A launch dim is a capacity of one step; a device dim
// is data on the device, so its bounds size buffers and never grids.
const (
	Load When = iota
	Launch
	Device
)

var whenNames = [...]string{Load: "load", Launch: "launch", Device: "device"}

// String returns the word used in text.
func (w When) String() string { return whenNames[w] }

// DimDecl declares a symbol.
type DimDecl struct {
	Name  string
	When  When
	Range types.Range
	Pos   Pos
}

// Table says what the caches on it keep, and in pages of how many tokens. One
// page table per (table, sequence) serves all layers.
type Table struct {
	Name    string
	Page    int  // tokens a page
	Summary int  // tokens a page summary covers; 0: no summaries
	Sink    int  // first tokens that are kept for good
	Recent  *int // tokens before the newest that are kept; nil: all
	Chunk   int  // most tokens of a sequence that a step may append, where results depend on the cut; 0: any
	Pos     Pos
}

// CacheDecl declares the keys and values of one layer (or head group): Heads
// vectors of Dim elements for K and for V, a token.
type CacheDecl struct {
	Name   string
	Elem   types.Elem
	Heads  int
	Dim    int
	Table  string
	Layout string // physical layout, "" before it is chosen
	Pick   bool   // instead of keys and values: the pages that a sequence reads, Heads lists of at most Dim, kept with its newest page
	Pos    Pos
}

// Weight declares a parameter. A weight with Concat or Scaled is derived, made once at
// load: the rows (axis 0) of other weights, or another weight scaled by a vector.
type Weight struct {
	Name   string
	Type   types.Type
	Concat []string
	Scaled *Scaling
	Layout string // physical layout, "" before it is chosen
	Pos    Pos
}

// Scaling is a weight Of whose elements along Axis are multiplied by those of the vector
// By, or divided by them (Over). Offset is that of a norm whose gain Of is: it is
// Offset + Of that is scaled.
type Scaling struct {
	Of, By string
	Axis   int
	Over   bool
	Offset float64
}

// Module is one model: declarations and Funcs that share them.
type Module struct {
	Name    string
	Props   []string // facts that passes have established, sorted
	Dims    []*DimDecl
	Tables  []*Table
	Caches  []*CacheDecl
	Weights []*Weight
	Funcs   []*Func
}

// Dim returns the declaration of a symbol, or nil.
func (m *Module) Dim(name string) *DimDecl {
	return find(m.Dims, func(d *DimDecl) bool { return d.Name == name })
}

// Table returns the named table, or nil.
func (m *Module) Table(name string) *Table {
	return find(m.Tables, func(t *Table) bool { return t.Name == name })
}

// Cache returns the named cache, or nil.
func (m *Module) Cache(name string) *CacheDecl {
	return find(m.Caches, func(c *CacheDecl) bool { return c.Name == name })
}

// Weight returns the named weight, or nil.
func (m *Module) Weight(name string) *Weight {
	return find(m.Weights, func(w *Weight) bool { return w.Name == name })
}

// Func returns the named function, or nil.
func (m *Module) Func(name string) *Func {
	return find(m.Funcs, func(f *Func) bool { return f.Name == name })
}

// Bounds returns the declared range of every symbol.
func (m *Module) Bounds() map[string]types.Range {
	b := make(map[string]types.Range, len(m.Dims))
	for _, d := range m.Dims {
		b[d.Name] = d.Range
	}
	return b
}

// Has reports whether a property holds.
func (m *Module) Has(prop string) bool { return slices.Contains(m.Props, prop) }

// SetProp records a property; ClearProp removes it.
func (m *Module) SetProp(prop string) {
	if !m.Has(prop) {
		m.Props = append(m.Props, prop)
		slices.Sort(m.Props)
	}
}

// ClearProp removes a property.
func (m *Module) ClearProp(prop string) {
	m.Props = slices.DeleteFunc(m.Props, func(p string) bool { return p == prop })
}

// Sources returns the weights whose rows make w: w itself, or the concatenated ones in
// order (recursively). A scaled one is one of them: nothing holds its rows but itself.
func (m *Module) Sources(w *Weight) []*Weight {
	if len(w.Concat) == 0 {
		return []*Weight{w}
	}
	var out []*Weight
	for _, n := range w.Concat {
		if s := m.Weight(n); s != nil {
			out = append(out, m.Sources(s)...)
		}
	}
	return out
}

// Clone returns a deep copy that shares nothing with m.
func (m *Module) Clone() *Module {
	c, err := Parse("clone", Print(m))
	if err != nil {
		panic("BUG: printed module does not parse: " + err.Error())
	}
	return c
}

func find[T any](list []*T, ok func(*T) bool) *T {
	for _, x := range list {
		if ok(x) {
			return x
		}
	}
	return nil
}
