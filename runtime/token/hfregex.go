package token

import (
	"fmt"
	"strings"
)

// portRegex rewrites a regular expression from Oniguruma, which the tokenizers library uses, to .NET's, which regexp2
// reads: ^ and $ are ends of lines, [a&&[^b]] is [a-[b]]. What has no counterpart is an error.
func portRegex(pattern string) (string, error) {
	if _, ok := scanners[pattern]; ok {
		return pattern, nil
	}
	var b strings.Builder
	b.WriteString("(?m:")
	depth, subtracting := 0, false
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			if strings.IndexByte("hHRXKGO", pattern[i+1]) >= 0 {
				return "", fmt.Errorf("pattern %.80q: \\%c is not supported", pattern, pattern[i+1])
			}
			b.WriteString(rest[:2])
			i++
			continue
		case depth == 0 && pattern[i] == '[':
			depth = 1
			if strings.HasPrefix(rest, "[]") || strings.HasPrefix(rest, "[^]") {
				return "", fmt.Errorf("pattern %.80q: an empty class is not supported", pattern)
			}
		case depth == 1 && strings.HasPrefix(rest, "&&[^") && !subtracting:
			b.WriteString("-[")
			i += len("&&[^") - 1
			depth, subtracting = 2, true
			continue
		case depth > 0 && (strings.HasPrefix(rest, "&&") || pattern[i] == '['):
			return "", fmt.Errorf("pattern %.80q: a class in a class at byte %d is not supported", pattern, i)
		case depth > 0 && pattern[i] == ']':
			depth--
		case depth == 1 && subtracting:
			return "", fmt.Errorf("pattern %.80q: a class goes on after && at byte %d", pattern, i)
		}
		if depth == 0 {
			subtracting = false
		}
		b.WriteByte(pattern[i])
	}
	b.WriteString(")")
	return b.String(), nil
}
