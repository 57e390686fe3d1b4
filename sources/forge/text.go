package forge

import (
	"fmt"
	"strings"
	"unicode"
)

// mostCode bounds what stands in a code span, in bytes.
const mostCode = 400

// Code is outside text in a code span, on one line, in which nothing is markup:
// not a fence, not a cell's end, not a mention.
func Code(s string) string {
	s = oneLine(strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > mostCode {
		s = strings.ToValidUTF8(s[:mostCode], "") + "…"
	}
	return "<code>" + Escape(s) + "</code>"
}

// Escape makes text that no forge's Markdown takes for anything else. Forges
// look for mentions in what was rendered, but not within code: outside text
// belongs there. What is not seen, or turns round the order in which the text
// behind it is read, stands there by its number.
func Escape(s string) string {
	var b strings.Builder
	www := 0 // letters of the beginning of an address, of which forges make links
	for _, r := range oneLine(s) {
		switch {
		case strings.ContainsRune("&<>\"'\\`*_{}[]()#+!|~@$:^", r), r == '.' && www >= 3:
			_, _ = fmt.Fprintf(&b, "&#%d;", r)
		case r < 0x20 || r >= 0x7f && r < 0xa0:
		case hidden(r):
			_, _ = fmt.Fprintf(&b, "&#92;u%04x", r)
		default:
			b.WriteRune(r)
		}
		if www++; r != 'w' && r != 'W' {
			www = 0
		}
	}
	return b.String()
}

// oneLine joins lines, and blanks in a row, by one blank.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }), " ")
}

// hidden says whether a letter is not seen, looks like a blank, or changes how
// others are read.
func hidden(r rune) bool {
	return r > unicode.MaxASCII && (unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector))
}
