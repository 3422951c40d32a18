package httpapi

import (
	"strings"
	"unicode"
)

// Printable returns a text that somebody has said of himself with U+FFFD for each character that a terminal would obey or that may end a line, but for
// those of keep.
func Printable(text, keep string) string {
	return strings.Map(func(r rune) rune {
		if !strings.ContainsRune(keep, r) && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
