package sample

import "strings"

// Stops finds the first stop string in a text that comes in pieces. It holds text back
// while that may be the beginning of a stop string, so that none of it is ever shown.
//
// The text ends where a stop string first ends; if several end there, the longest counts.
// The cutting into pieces makes no difference.
type Stops struct {
	stops []string
	held  string
	done  bool
}

// NewStops looks for the given strings; empty ones are ignored.
func NewStops(stops []string) *Stops {
	s := &Stops{}
	for _, x := range stops {
		if x != "" {
			s.stops = append(s.stops, x)
		}
	}
	return s
}

// Push adds text and gives what is certain to be shown. When a stop string is complete,
// that is the text before it, stopped is true and later calls give nothing.
func (s *Stops) Push(text string) (show string, stopped bool) {
	if s.done {
		return "", true
	}
	text = s.held + text
	first, end := -1, len(text)+1
	for _, x := range s.stops {
		if i := strings.Index(text, x); i >= 0 && (i+len(x) < end || i+len(x) == end && i < first) {
			first, end = i, i+len(x)
		}
	}
	if first >= 0 {
		s.done, s.held = true, ""
		return text[:first], true
	}
	n := len(text) - s.begun(text)
	s.held = text[n:]
	return text[:n], false
}

// begun is the length of the longest end of text that begins a stop string.
func (s *Stops) begun(text string) int {
	most := 0
	for _, x := range s.stops {
		for n := min(len(x)-1, len(text)); n > most; n-- {
			if strings.HasSuffix(text, x[:n]) {
				most = n
			}
		}
	}
	return most
}

// Flush gives what was held back, when the text ends without a stop string.
func (s *Stops) Flush() string {
	text := s.held
	s.held = ""
	return text
}
