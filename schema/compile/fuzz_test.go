package compile

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

// FuzzYAML: whatever a file holds, it yields resources that hold together or
// findings that say where, and never a panic.
func FuzzYAML(f *testing.F) {
	f.Add(shop, false)
	f.Add(sample(1)+sample(2), false)
	f.Add("a: &a [*a]\n<<: *a\n? [x]\n: !t y\n", false)
	f.Add("apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: a}\nspec: {path: ., template: ../x, mode: 0644, vars: {A: 0x1f, B: .5, C: 1e3}}\n", false)
	f.Add(`{"apiVersion":"aplomb.dev/v1","kind":"local.process","metadata":{"name":"a"},"spec":{"argv":["\ud83d\ude00"],"env":{"":-0.0}}}`, true)
	c, err := newChecker(Limits{Nodes: 2000, Depth: 20}.withDefaults())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, isJSON bool) {
		name := "dir/a.yaml"
		if isJSON {
			name = "dir/a.json"
		}
		b := &builder{file: name, limits: c.limits}
		res := c.documents(b, []byte(text)) // without the net under it
		strays := slices.ContainsFunc(res.Findings, func(d schema.Diagnostic) bool { return strings.Contains(d.Hint, ".aplombignore") })
		if len(res.Findings) > 0 && len(res.Broken) == 0 && declares([]byte(text)) && !strays {
			t.Fatalf("findings %v of no declaration", res.Findings)
		}
		lines := 1
		for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
			lines += strings.Count(text, end)
		}
		for _, d := range res.Findings {
			if d.Pos.File != name || d.Pos.Line < 1 || d.Pos.Col < 1 || d.Pos.Line > lines || d.Message == "" {
				t.Fatalf("a finding without a place in %d lines: %s", lines, d)
			}
		}
		for _, r := range res.Resources {
			holdsTogether(t, r)
		}
	})
}

func holdsTogether(t *testing.T, r schema.Resource) {
	t.Helper()
	if !schema.ValidName(r.ID.Name) || !schema.ValidKind(r.ID.Kind) || r.Pos.Line < 1 {
		t.Fatalf("%s at %s", r.ID, r.Pos)
	}
	var spec any
	if err := json.Unmarshal(r.Spec, &spec); err != nil {
		t.Fatalf("%s: %v", r.Spec, err)
	}
	if !slices.IsSortedFunc(r.Refs, func(a, b schema.FieldRef) int { return strings.Compare(string(a.Path), string(b.Path)) }) {
		t.Fatalf("the references are not in order: %+v", r.Refs)
	}
	for _, ref := range r.Refs {
		if _, err := schema.ParseText(ref.Text); err != nil {
			t.Fatalf("%q is no text: %v", ref.Text, err)
		}
		at := spec
		for _, step := range ref.Path.Steps() {
			switch x := at.(type) {
			case map[string]any:
				at = x[step]
			case []any:
				i := slices.IndexFunc(x, func(v any) bool { return v == ref.Text })
				if i < 0 {
					t.Fatalf("%s is not in %v", ref.Text, x)
				}
				at = x[i]
			}
		}
		if at != ref.Text {
			t.Fatalf("at %s of the spec stands %v, not %q", ref.Path, at, ref.Text)
		}
	}
}

// FuzzPath: no name leads out of the tree, and whatever is a pattern can be
// matched.
func FuzzPath(f *testing.F) {
	f.Add("team", "../x", "a/**/b", "a/x/y/b")
	f.Add(".", "./a//b/../c", "*.yaml", "x/y.yaml")
	f.Add("a/b", "../../..", "/a/[b-", "a")
	f.Add("a", "..\\x\x00", "**/**/a?/", "..")
	f.Fuzz(func(t *testing.T, dir, name, line, candidate string) {
		if fs.ValidPath(dir) && !strings.ContainsAny(dir, "\\\x00") && len(name) < 1000 {
			clean, msg := within(dir, name)
			if (clean == "") == (msg == "") {
				t.Fatalf("%q in %q is %q and %q", name, dir, clean, msg)
			}
			if msg == "" && (!fs.ValidPath(clean) || clean == "." || strings.ContainsAny(clean, "\\\x00")) {
				t.Fatalf("%q in %q is %q", name, dir, clean)
			}
		}
		ig, _ := parseIgnore(line)
		for _, p := range ig {
			if files := (ignore{p}).match(candidate, false); files && !(ignore{p}).match(candidate, true) {
				t.Fatalf("%q lists %q as a file and not as a folder", line, candidate)
			}
		}
	})
}
