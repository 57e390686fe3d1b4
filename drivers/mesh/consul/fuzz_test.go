package consul

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzSaid: whatever Consul, or something in front of it, says of a refusal is
// told as one line that a screen and a log can take.
func FuzzSaid(f *testing.F) {
	f.Add([]byte("Permission denied: token with AccessorID 'x' lacks permission\r\n"))
	f.Add([]byte("<html>\n<body>\xff\xfe"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		text := said(body)
		if text == "" || strings.ContainsAny(text, "\r\n\t") || !utf8.ValidString(text) || len(text) > mostSaid+len("…") {
			t.Fatalf("%q became %q", body, text)
		}
	})
}
