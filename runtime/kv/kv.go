package kv

import (
	"errors"
	"fmt"
	"slices"
)

// What a caller may branch on.
var (
	ErrContextFull = errors.New("the context is full")
	ErrOutOfPages  = errors.New("out of cache pages")
	ErrClosed      = errors.New("the sequence is closed")
)

// None is the entry of a page that a sequence does not have.
const None int32 = -1

// Slack is how many pages a window keeps beyond those that a row can see.
const Slack = 1

// Table is what a page table keeps; see quire/runtime/program.Table.
type Table struct {
	Page   int  // tokens of a page
	Sink   int  // first tokens, kept always
	Recent *int // tokens before a row that it can see; nil: all
}

// Most is how many pages a sequence that grows a token at a time to n tokens holds at most.
func (t Table) Most(n int) int {
	pages := (n + t.Page - 1) / t.Page
	if t.Recent == nil {
		return pages
	}
	return min(pages, (t.Sink+t.Page-1)/t.Page+(*t.Recent+t.Page-1)/t.Page+1+Slack)
}

// Pool is the physical pages of all tables of one Program.
type Pool struct {
	tables  []Table
	stocks  []stock
	context int
	open    int
}

// stock is the pages of one table.
type stock struct {
	users []int32 // of each page that was ever handed out
	free  []int32 // handed out before, used by nobody; the last is reused first
	limit int
	used  int
	peak  int
}

// New makes a pool of limits[t] pages for each table, for sequences of at most context
// tokens.
func New(tables []Table, limits []int, context int) *Pool {
	p := &Pool{tables: slices.Clone(tables), context: context}
	for _, n := range limits {
		p.stocks = append(p.stocks, stock{limit: n})
	}
	return p
}

func (s *stock) left() int { return s.limit - s.used }

// take hands a page out; left says whether there is one.
func (s *stock) take() int32 {
	var page int32
	if n := len(s.free); n > 0 {
		page, s.free = s.free[n-1], s.free[:n-1]
	} else {
		page = int32(len(s.users))
		s.users = append(s.users, 0)
	}
	s.users[page] = 1
	s.used++
	s.peak = max(s.peak, s.used)
	return page
}

func (s *stock) drop(page int32) {
	if s.users[page]--; s.users[page] == 0 {
		s.free = append(s.free, page)
		s.used--
	}
}

// Stats is the state of one table's pages.
type Stats struct {
	Limit, Used, Peak int
	Touched           int // ever handed out, and not given back by Trim
}

// Stats reports on a table.
func (p *Pool) Stats(table int) Stats {
	s := &p.stocks[table]
	return Stats{Limit: s.limit, Used: s.used, Peak: s.peak, Touched: len(s.users)}
}

// Sequences is the number of open sequences.
func (p *Pool) Sequences() int { return p.open }

// Free lists the pages of a table that hold memory but no tokens, for the device to
// discard. They stay free.
func (p *Pool) Free(table int) []int32 { return slices.Clone(p.stocks[table].free) }

// Sequence is the pages of one sequence of tokens.
type Sequence struct {
	pool   *Pool
	length int
	pages  [][]int32 // of each table
	low    []int     // of each table: pages before it, and after the sink, were freed
	closed bool
}

// NewSequence begins an empty sequence. It takes no pages yet.
func (p *Pool) NewSequence() *Sequence {
	p.open++
	return &Sequence{pool: p, pages: make([][]int32, len(p.tables)), low: make([]int, len(p.tables))}
}

// Len is the number of committed tokens.
func (s *Sequence) Len() int { return s.length }

// Pages is the page table: the physical page of each logical page, or None. It is
// valid until the sequence changes.
func (s *Sequence) Pages(table int) []int32 { return s.pages[table] }

// Reserve makes pages for n more tokens, of all tables or of none. It may be called again
// for another n before Commit. Errors wrap ErrContextFull or ErrOutOfPages.
func (s *Sequence) Reserve(n int) error {
	if s.closed {
		return ErrClosed
	}
	if n < 0 || s.length+n > s.pool.context {
		return fmt.Errorf("%w: %d tokens and %d more, the context has %d", ErrContextFull, s.length, n, s.pool.context)
	}
	for t := range s.pages {
		st := &s.pool.stocks[t]
		if need := s.missing(t, n); need > st.left() {
			return fmt.Errorf("%w: table %d needs %d, %d of %d are free", ErrOutOfPages, t, need, st.left(), st.limit)
		}
	}
	for t := range s.pages {
		for range s.missing(t, n) {
			s.pages[t] = append(s.pages[t], s.pool.stocks[t].take())
		}
	}
	return nil
}

// missing is how many pages table t lacks for n more tokens.
func (s *Sequence) missing(t, n int) int {
	page := s.pool.tables[t].Page
	return max(0, (s.length+n+page-1)/page-len(s.pages[t]))
}

// Commit makes n reserved tokens part of the sequence and frees the pages that no later
// row can see.
func (s *Sequence) Commit(n int) error {
	if s.closed {
		return ErrClosed
	}
	for t := range s.pages {
		if n < 0 || s.missing(t, n) > 0 {
			return fmt.Errorf("kv: commit of %d tokens, fewer are reserved", n)
		}
	}
	s.length += n
	for t := range s.pages {
		s.evict(t)
	}
	return nil
}

// evict frees the pages of table t wholly between the sink and the window of the next row.
func (s *Sequence) evict(t int) {
	tab := s.pool.tables[t]
	if tab.Recent == nil {
		return
	}
	first := (tab.Sink + tab.Page - 1) / tab.Page // first page without a sink token
	end := max(0, s.length-*tab.Recent)/tab.Page - Slack
	for i := max(first, s.low[t]); i < end; i++ {
		if p := s.pages[t][i]; p != None {
			s.pool.stocks[t].drop(p)
			s.pages[t][i] = None
		}
	}
	s.low[t] = max(s.low[t], end)
}

// Release gives back what was reserved and not committed.
func (s *Sequence) Release() {
	for t, tab := range s.pool.tables {
		keep := min((s.length+tab.Page-1)/tab.Page, len(s.pages[t]))
		for _, p := range s.pages[t][keep:] {
			if p != None {
				s.pool.stocks[t].drop(p)
			}
		}
		s.pages[t] = s.pages[t][:keep]
		s.low[t] = min(s.low[t], keep)
	}
}

// Truncate forgets all but the first n tokens. It is an error when a window has freed
// pages that the shorter sequence would still see. A page that is then part full and
// shared is copied, as for Fork.
func (s *Sequence) Truncate(n int) ([]Copy, error) {
	if s.closed {
		return nil, ErrClosed
	}
	if n < 0 || n > s.length {
		return nil, fmt.Errorf("kv: truncate to %d tokens of %d", n, s.length)
	}
	for t, tab := range s.pool.tables {
		for i := 0; i < (n+tab.Page-1)/tab.Page; i++ {
			seen := tab.Recent == nil || i*tab.Page < tab.Sink || (i+1)*tab.Page > n-*tab.Recent
			if seen && s.pages[t][i] == None {
				return nil, fmt.Errorf("kv: truncate to %d tokens of %d: table %d no longer has page %d", n, s.length, t, i)
			}
		}
		if st := &s.pool.stocks[t]; s.shares(t, n) && st.left() < 1 {
			return nil, fmt.Errorf("%w: table %d needs 1, 0 of %d are free", ErrOutOfPages, t, st.limit)
		}
	}
	s.length = n
	s.Release()
	var copies []Copy
	for t, tab := range s.pool.tables {
		if !s.shares(t, n) {
			continue
		}
		st, at := &s.pool.stocks[t], n/tab.Page
		from := s.pages[t][at]
		s.pages[t][at] = st.take()
		st.drop(from)
		copies = append(copies, Copy{t, from, s.pages[t][at]})
	}
	return copies, nil
}

// shares says whether token n would be written to a page of table t that others use.
func (s *Sequence) shares(t, n int) bool {
	at := n / s.pool.tables[t].Page
	return n%s.pool.tables[t].Page != 0 && s.pages[t][at] != None && s.pool.stocks[t].users[s.pages[t][at]] > 1
}

// Copy is a page that a device copies.
type Copy struct {
	Table    int
	From, To int32
}

// Fork makes a sequence of the same tokens. The device must make the copies before either
// sequence takes part in a step.
func (s *Sequence) Fork() (*Sequence, []Copy, error) {
	if s.closed {
		return nil, nil, ErrClosed
	}
	s.Release()
	for t, tab := range s.pool.tables {
		if s.length%tab.Page != 0 && s.pool.stocks[t].left() < 1 {
			return nil, nil, fmt.Errorf("%w: table %d needs 1, 0 of %d are free", ErrOutOfPages, t, s.pool.stocks[t].limit)
		}
	}
	f := s.pool.NewSequence()
	f.length = s.length
	copy(f.low, s.low)
	var copies []Copy
	for t, tab := range s.pool.tables {
		st := &s.pool.stocks[t]
		f.pages[t] = slices.Clone(s.pages[t])
		for i, p := range f.pages[t] {
			switch {
			case p == None:
			case i == s.length/tab.Page: // part full: the next token is written here
				f.pages[t][i] = st.take()
				copies = append(copies, Copy{t, p, f.pages[t][i]})
			default:
				st.users[p]++
			}
		}
	}
	return f, copies, nil
}

// Close gives all pages back. It may be called again.
func (s *Sequence) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.pool.open--
	for t := range s.pages {
		for _, p := range s.pages[t] {
			if p != None {
				s.pool.stocks[t].drop(p)
			}
		}
		s.pages[t] = nil
	}
}
