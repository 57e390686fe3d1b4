package terminal

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/schema"
)

// Clean makes s safe to show on one line: a secret's token becomes
// schema.Redacted; line breaks and tabs stand as \n, \r, \t; other control
// characters, marks that turn the direction of text, and bytes that are no
// UTF-8 become U+FFFD. What comes out cannot move the cursor, colour, or
// reorder anything.
func Clean(s string) string {
	s = schema.Mask(s)
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unsafe(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unsafe says whether a rune is a control, format, line or paragraph
// separator, surrogate or private one, or stands for a broken byte.
func unsafe(r rune) bool {
	return r == utf8.RuneError || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp)
}

// CleanLog makes output of a process safe to copy to a terminal: like Clean,
// but line breaks and tabs stay.
func CleanLog(b []byte) []byte {
	return []byte(strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unsafe(r) {
			return utf8.RuneError
		}
		return r
	}, string(b)))
}

// cells1 is how many columns s takes on a terminal.
func cells1(s string) int {
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// wide are the runes that take two columns: East Asian wide and emoji.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0xa4cf, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1}},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

func runeCells(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	default:
		return 1
	}
}

// clip cuts s to n columns; what was cut is said by "…".
func clip(s string, n int) string {
	if cells1(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	var b strings.Builder
	used := 0
	for _, r := range s {
		w := runeCells(r)
		if used+w > n-1 {
			break
		}
		used += w
		b.WriteRune(r)
	}
	return b.String() + "…"
}

func pad(s string, n int) string { return s + strings.Repeat(" ", max(n-cells1(s), 0)) }

// bareRE is a JSON string's content that needs no quotes to be read as text.
var bareRE = regexp.MustCompile(`^[A-Za-z_./@:][\w ./:@%+=,{}\[\]-]*$`)

// Value is JSON for people: strings without quotes where nothing is lost,
// secrets as schema.Redacted.
func Value(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "(none)"
	}
	var s string
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 && raw[0] == '"' {
		masked := schema.Mask(s)
		if masked == schema.Redacted || bareRE.MatchString(s) && s != "true" && s != "false" && s != "null" {
			return Clean(masked)
		}
	}
	return Clean(string(raw))
}

// count is "1 file", "2 files".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// span is a duration for people: 0.3 s, 14 s, 3 min, 2 h, 5 days.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// ago is span, for a moment in the past.
func (p *Printer) ago(t time.Time) string {
	d := p.now().Sub(t)
	if d < time.Second {
		return "just now"
	}
	if d < 10*time.Second {
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	}
	return span(d) + " ago"
}

// namer writes IDs without their target where nothing is ambiguous.
type namer map[string]string // by kind: its only target, or "" where there are several

func names(ids ...schema.ID) namer {
	n := namer{}
	for _, id := range ids {
		if t, seen := n[id.Kind]; seen && t != id.Target {
			n[id.Kind] = ""
		} else if !seen {
			n[id.Kind] = id.Target
		}
	}
	return n
}

func (n namer) of(id schema.ID) string {
	if t, seen := n[id.Kind]; seen && t == id.Target {
		return Clean(id.Short())
	}
	return Clean(id.String())
}

// wholeRunes is how many bytes of b are no unfinished character.
func wholeRunes(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if utf8.FullRune(b[len(b)-i:]) {
				return len(b)
			}
			return len(b) - i
		}
	}
	return len(b)
}
