package proposals

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzApprove: a comment approves by lines that say nothing else, and what is
// quoted in a reply says nothing.
func FuzzApprove(f *testing.F) {
	f.Add("fine\naplomb approve 0123456789ab\n")
	f.Add("aplomb approve 0123456789ab\r\naplomb approve " + digest)
	f.Add("> aplomb approve 0123456789ab")
	f.Add("aplomb approve 0123456789ab please\naplomb  approve 0123456789ab")
	f.Fuzz(func(t *testing.T, body string) {
		lines := strings.Split(body, "\n")
		for i, line := range lines {
			lines[i] = strings.Trim(strings.TrimSuffix(line, "\r"), " \t")
		}
		said := approveRE.FindAllStringSubmatch(body, mostLines)
		for _, m := range said {
			if len(m[1]) < 12 || len(m[1]) > 64 || strings.Trim(m[1], "0123456789abcdef") != "" || !slices.Contains(lines, "aplomb approve "+m[1]) {
				t.Fatalf("%q approves %q", body, m[1])
			}
		}
		if quoted := "> " + strings.ReplaceAll(body, "\n", "\n> "); approveRE.MatchString(quoted) {
			t.Fatalf("%q approves", quoted)
		}
		if digest := strings.Repeat("0", 64); len(said) < mostLines {
			if all := approveRE.FindAllStringSubmatch(body+"\naplomb approve "+digest+"\n"+body, -1); !slices.ContainsFunc(all, func(m []string) bool { return m[1] == digest }) {
				t.Fatalf("between %q a line is not seen", body)
			}
		}
	})
}

// FuzzBookFile: a file is a book or an error; what it says was shown is found by
// what names it and nothing else, and a book that is written is read as it was.
func FuzzBookFile(f *testing.F) {
	f.Add([]byte(`{"pages":{"h":[{"digest":"00","at":"2026-11-28T12:00:00Z"},{"digest":"01"}]},"counted":{"a":"2026-11-28T12:00:00Z"}}`), "00", int64(1_795_867_200))
	f.Add([]byte(`{"pages":{"h":[],"i":null}}`), "", int64(0))
	f.Add([]byte(`{"pages":{"h":[{"digest":""}]}}`), "", int64(0))
	f.Fuzz(func(t *testing.T, data []byte, named string, at int64) {
		b := &Book{path: filepath.Join(t.TempDir(), "b.json"), pages: map[string][]page{}, counted: map[string]time.Time{}}
		if b.parse(data) != nil {
			return
		}
		for head, all := range b.pages {
			if p, ok := b.named(head, named); ok {
				for _, other := range all {
					if strings.HasPrefix(other.Digest, named) && other.Digest != p.Digest || named == "" {
						t.Fatalf("%q names %q and %q", named, p.Digest, other.Digest)
					}
				}
			}
			when := time.Unix(at, 0)
			if p, ok := b.seen(head, when); ok && p.At.Truncate(time.Second).After(when) {
				t.Fatalf("what was shown at %s was seen at %s", p.At, when)
			}
		}
		if err := b.save(); err != nil {
			t.Skip() // a time that JSON has no words for
		}
		again, err := OpenBook(b.path)
		if err != nil {
			t.Fatal(err)
		}
		was, _ := json.Marshal(b.file())
		is, _ := json.Marshal(again.file())
		if !reflect.DeepEqual(was, is) {
			t.Fatalf("%s became %s", was, is)
		}
	})
}
