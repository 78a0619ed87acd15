package duo

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Gates are the trained gates of a model: a row a layer, a column a KV head in the
// order of the checkpoint. Near 1: the head needs the whole context.
type Gates [][]float64

// Bounds of a table that is believed.
const (
	maxLayers = 4096
	maxHeads  = 4096
)

// ParseGates reads a published table: a line a layer, numbers separated by tabs.
// Values are kept as they are written, slightly negative ones too (training stops
// without a clamp): masks see them as 0. An error names file, line and value.
func ParseGates(file, text string) (Gates, error) {
	var g Gates
	for i, line := range strings.Split(strings.TrimRight(text, "\r\n"), "\n") {
		at := fmt.Sprintf("%s:%d", file, i+1)
		if i >= maxLayers {
			return nil, fmt.Errorf("%s: more than %d layers", at, maxLayers)
		}
		row, err := parseRow(at, strings.TrimSuffix(line, "\r"))
		if err != nil {
			return nil, err
		}
		if i > 0 && len(row) != len(g[0]) {
			return nil, fmt.Errorf("%s: %d heads, expected %d as in line 1", at, len(row), len(g[0]))
		}
		g = append(g, row)
	}
	return g, nil
}

func parseRow(at, line string) ([]float64, error) {
	if strings.TrimSpace(line) == "" {
		return nil, fmt.Errorf("%s: an empty line, expected the gates of a layer", at)
	}
	words := strings.Split(line, "\t")
	if len(words) > maxHeads {
		return nil, fmt.Errorf("%s: %d heads, expected at most %d", at, len(words), maxHeads)
	}
	row := make([]float64, len(words))
	for i, w := range words {
		x, err := strconv.ParseFloat(strings.TrimSpace(w), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("%s: gate %d is %.40q, expected a number", at, i+1, w)
		}
		row[i] = x
	}
	return row, nil
}

// String is the table as published: 18 digits after the point, tabs, a line feed
// behind every row.
func (g Gates) String() string {
	var b strings.Builder
	for _, row := range g {
		for i, x := range row {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(strconv.FormatFloat(x, 'e', 18, 64))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Heads is the number of gates.
func (g Gates) Heads() int {
	n := 0
	for _, row := range g {
		n += len(row)
	}
	return n
}
