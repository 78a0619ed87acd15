package duo

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the picture, in pixels.
const (
	cell   = 18
	left   = 46 // room for layer numbers
	top    = 58 // room for the title and head numbers
	legend = 34
)

// Picture draws gates and the mask chosen from them as SVG: a row a layer, a column
// a KV head; the darker, the larger the gate; retrieval heads have a dot. Equal
// arguments give equal bytes.
func Picture(title string, g Gates, m Mask) string {
	heads := 0
	for _, row := range g {
		heads = max(heads, len(row))
	}
	width, height := max(left+heads*cell+20, 420), top+len(g)*cell+legend
	var b strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="Helvetica, Arial, sans-serif" font-size="10" fill="#333">`, width, height, width, height)
	p(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	p(`<text x="%d" y="18" font-size="13">%s</text>`, left, html.EscapeString(title))
	p(`<text x="%d" y="34">KV head</text>`, left)
	for h := range heads {
		if h%labelEvery(heads) == 0 {
			p(`<text x="%d" y="%d" text-anchor="middle">%d</text>`, left+h*cell+cell/2, top-6, h)
		}
	}
	for l, row := range g {
		y := top + l*cell
		p(`<text x="%d" y="%d" text-anchor="end">%d</text>`, left-6, y+cell-5, l)
		for h, x := range row {
			kind := "streaming"
			if m[l][h] {
				kind = "retrieval"
			}
			p(`<rect x="%d" y="%d" width="%d" height="%d" fill="%s"><title>layer %d, head %d: %.4f, %s</title></rect>`,
				left+h*cell, y, cell-1, cell-1, shade(x), l, h, x, kind)
			if m[l][h] {
				p(`<circle cx="%d" cy="%d" r="3" fill="#e4572e"/>`, left+h*cell+(cell-1)/2, y+(cell-1)/2)
			}
		}
	}
	y := top + len(g)*cell + 20
	p(`<text x="%d" y="%d">gate 0</text>`, left, y)
	for i := range 11 {
		p(`<rect x="%d" y="%d" width="9" height="10" fill="%s"/>`, left+38+i*9, y-9, shade(float64(i)/10))
	}
	p(`<text x="%d" y="%d">1</text>`, left+142, y)
	p(`<circle cx="%d" cy="%d" r="3" fill="#e4572e"/>`, left+166, y-4)
	p(`<text x="%d" y="%d">retrieval head: %d of %d</text>`, left+174, y, m.Retrieval(), g.Heads())
	p(`</svg>`)
	return b.String()
}

// labelEvery thins the numbers of many heads.
func labelEvery(heads int) int {
	if heads > 16 {
		return 4
	}
	return 1
}

// shade is white for 0 and dark blue for 1.
func shade(gate float64) string {
	mix := func(from, to float64) int { return int(math.Round(from + (to-from)*clamp(gate))) }
	return fmt.Sprintf("#%02x%02x%02x", mix(0xf2, 0x1f), mix(0xf4, 0x4e), mix(0xf7, 0x8c))
}
