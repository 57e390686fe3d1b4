package forge

import (
	"html"
	"strings"
	"testing"
	"unicode"
)

// Text of others is text: it is no link and no mention, and it hides nothing.
func TestEscape(t *testing.T) {
	for text, want := range map[string]string{
		"a  b\n\tc":                        "a b c",
		"<b>@ana</b> #1 `x`":               "&#60;b&#62;&#64;ana&#60;/b&#62; &#35;1 &#96;x&#96;",
		"see WWW.example.org, w.ww.x":      "see WWW&#46;example.org, w.ww.x",
		"wwww.example.org":                 "wwww&#46;example.org",
		"web\u202egpj.\u2066x":             `web&#92;u202egpj.&#92;u2066x`,
		"web\u200b:v1\ufeff\u3164\ufe0f":   `web&#92;u200b&#58;v1&#92;ufeff&#92;u3164&#92;ufe0f`,
		"a\u00a0b\u2003c\u2028d\u0085\x1b": `a&#92;u00a0b&#92;u2003c&#92;u2028d`,
		"\U000e0041ä→日本":                   `&#92;ue0041ä→日本`,
	} {
		if got := Escape(text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
	if got := Code(strings.Repeat("ä", mostCode)); got != "<code>"+strings.Repeat("ä", mostCode/2)+"…</code>" {
		t.Errorf("a long one: %q", got)
	}
	if got := Code("a\xff"); got != "<code>a\uFFFD</code>" {
		t.Errorf("%q", got)
	}
}

// FuzzCode: whatever a repository holds is text in a comment, all of it that is
// short and seen is there, and nothing of it is hidden.
func FuzzCode(f *testing.F) {
	f.Add("`x` <b> | @team [a](b) \n# h www.example.org")
	f.Add("\u202ea\u2003\\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		c := strings.TrimSuffix(strings.TrimPrefix(Code(s), "<code>"), "</code>")
		if strings.ContainsAny(c, "<>`|@[]*_\n\"'") || strings.Contains(strings.ToLower(c), "www.") || strings.ContainsFunc(c, hidden) {
			t.Errorf("%q", c)
		}
		visible := strings.Map(func(r rune) rune {
			if hidden(r) || unicode.IsControl(r) && !unicode.IsSpace(r) || r == 0x85 {
				return -1
			}
			return r
		}, strings.ToValidUTF8(s, "\uFFFD"))
		if now := html.UnescapeString(strings.TrimPrefix(strings.TrimSuffix(Code(visible), "</code>"), "<code>")); len(visible) < mostCode && now != oneLine(visible) {
			t.Errorf("%q became %q", visible, now)
		}
	})
}
