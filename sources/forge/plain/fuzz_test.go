package plain

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// FuzzPage: whatever stood on a page, a part that is written is there once and as
// it was written, those of other keys stay, and nothing within a body, or in what
// the repository calls things, becomes another part.
func FuzzPage(f *testing.F) {
	f.Add([]byte("# x\n\n<!-- aplomb:plan/prod -->\nold\n\n<!-- aplomb:other -->\nkept\n"), "new\n<!-- aplomb:other -->\nforged", "web", "a title")
	f.Add([]byte("<!-- aplomb:plan/prod -->\na\n<!-- aplomb:plan/prod -->\nforged"), "x\r\n", "<!-- aplomb:x -->", "`\n<!-- aplomb:x -->\n")
	f.Add([]byte{}, "", "", "")
	f.Fuzz(func(t *testing.T, page []byte, body, id, title string) {
		const key = "plan/prod"
		text, err := forge.Compose(key, escaped(body), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		old := parse(page)
		now := slices.Clone(old)
		now.put(key, text)
		got := parse(now.page(forge.Proposal{ID: id, Title: title, Head: "3f2a", Author: forge.Account{ID: id, Name: title}}))
		others := func(all parts) parts {
			return slices.DeleteFunc(slices.Clone(all), func(o part) bool { return o.key == key })
		}
		if len(got) == 0 {
			t.Fatal("nothing is left")
		}
		if want, kept := others(old), others(got); !slices.Equal(kept, want) || len(got)-len(kept) != 1 {
			t.Fatalf("others were %q, are %q", want, kept)
		}
		i := slices.IndexFunc(got, func(o part) bool { return o.key == key })
		if want := strings.TrimRight(text, " \t\r\n"); got[i].text != want {
			t.Fatalf("%q became %q", want, got[i].text)
		}
	})
}

// FuzzFile: two proposals never share a page, nor is one a folder of another.
func FuzzFile(f *testing.F) {
	f.Add("a", "a.md/b")
	f.Add("a%2Emd/b", "a.md/b")
	f.Add("statuses.json/x", "statuses")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !fs.ValidPath(a) || !fs.ValidPath(b) || a == "." || b == "." || a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/") {
			return // Git has no two branches of which one is a folder of the other
		}
		all := []string{file(a), file(b), statusesFile}
		for i, one := range all {
			if !fs.ValidPath(one) {
				t.Fatalf("%q is no path", one)
			}
			for j, other := range all {
				for dir := one; i != j && dir != "."; dir = path.Dir(dir) {
					if dir == other {
						t.Fatalf("%q and %q are both in the way of %q", a, b, other)
					}
				}
			}
		}
	})
}

// FuzzTrailers: what a message approves stands in lines of its own, at its end,
// and as a comment would say it.
func FuzzTrailers(f *testing.F) {
	f.Add("Merge\n\nAplomb-Approve: 0123456789ab\nSigned-off-by: ana\n")
	f.Add("Aplomb-Approve: 0123456789ab")
	f.Add("x\n\nAplomb-Approve: 0123456789ab\n\nmore\r\n")
	f.Fuzz(func(t *testing.T, message string) {
		for line := range strings.SplitSeq(trailers(message), "\n") {
			if line == "" {
				continue
			}
			digest, ok := strings.CutPrefix(line, "aplomb approve ")
			if !ok || len(digest) < 12 || len(digest) > 64 || strings.Trim(digest, "0123456789abcdef") != "" {
				t.Fatalf("%q says %q", message, line)
			}
			_, behind, found := strings.Cut(strings.ReplaceAll(message, "\r\n", "\n"), "Aplomb-Approve:")
			if !found || !strings.Contains(behind, digest) || !strings.Contains(message, "\n") {
				t.Fatalf("%q does not say %q", message, digest)
			}
			if i := strings.LastIndex(message, digest); strings.Contains(strings.TrimSpace(strings.ReplaceAll(message[i:], "\r\n", "\n")), "\n\n") {
				t.Fatalf("%q is no end of %q", digest, message)
			}
		}
	})
}

// FuzzStatuses: what others made of the file is either read or begun anew.
func FuzzStatuses(f *testing.F) {
	f.Add([]byte(`[{"commit":"3f2a","context":"c","state":"success"}]`))
	f.Add([]byte(`{"a":1}`))
	f.Fuzz(func(_ *testing.T, text []byte) { statuses(text) })
}

// One person has one name, whichever kind of key it was signed with.
func TestPerson(t *testing.T) {
	for who, want := range map[string]string{
		"ana@example.org": "ana@example.org", "Ana <Ana@example.org>": "ana@example.org", "Ana": "ana", "<>": "<>", "a> <b": "a> <b", "": "",
		"Eve <ana@example.org> <eve@example.org>": "eve@example.org",
	} {
		if got := person(who); got.ID != want || got.Name != want {
			t.Errorf("%q is %+v", who, got)
		}
	}
}
