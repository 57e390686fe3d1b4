package schema_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

func TestRef(t *testing.T) {
	for text, want := range map[string]schema.Ref{
		"local.port/web.port":          {ID: schema.ID{Kind: "local.port", Name: "web"}, Output: "port"},
		"local.port/web@eu.port":       {ID: schema.ID{Kind: "local.port", Name: "web", Target: "eu"}, Output: "port"},
		"tofu.stack/n.subnets[0].id":   {ID: schema.ID{Kind: "tofu.stack", Name: "n"}, Output: "subnets", Path: "/0/id"},
		`tofu.stack/n.tags["a.b}/\""]`: {ID: schema.ID{Kind: "tofu.stack", Name: "n"}, Output: "tags", Path: schema.Path("").Child(`a.b}/"`)},
	} {
		r, err := schema.ParseRef(text)
		if err != nil || r != want {
			t.Errorf("%s is %+v, %v; want %+v", text, r, err, want)
			continue
		}
		if r.String() != text {
			t.Errorf("%s became %s", text, r)
		}
		out, err := json.Marshal(map[schema.Ref]int{r: 1})
		var back map[schema.Ref]int
		if err != nil || json.Unmarshal(out, &back) != nil || back[r] != 1 {
			t.Errorf("%s: JSON %s, %v", text, out, err)
		}
	}
	for _, text := range []string{"", "a", "a/b", "a/b.", "a/b..c", "a/b.c.", "a/b.c[", "a/b.c[x]", "a/b.c[-1]", `a/b.c["x]`, `a/b.c["x"`, "a/B.c", "a/b@.c", "a/b.c d", "a/b.c/d", strings.Repeat("a", schema.MaxRef+1)} {
		if r, err := schema.ParseRef(text); err == nil {
			t.Errorf("%q was read as %+v", text, r)
		}
	}
}

func TestText(t *testing.T) {
	a := schema.Ref{ID: schema.ID{Kind: "k", Name: "a"}, Output: "o"}
	key := schema.Ref{ID: schema.ID{Kind: "k", Name: "a"}, Output: "o", Path: schema.Path("").Child("}")}
	for text, want := range map[string]schema.Text{
		"":                    nil,
		"plain @ { }":         {{Lit: "plain @ { }"}},
		"@{k/a.o}":            {{Ref: &a}},
		"x@{k/a.o}y":          {{Lit: "x"}, {Ref: &a}, {Lit: "y"}},
		"@{k/a.o}@{k/a.o}":    {{Ref: &a}, {Ref: &a}},
		`@{k/a.o["}"]}`:       {{Ref: &key}},
		"@@{k/a.o}":           {{Lit: "@{k/a.o}"}},
		"a@@{b}@{k/a.o}@@{c}": {{Lit: "a@{b}"}, {Ref: &a}, {Lit: "@{c}"}},
	} {
		got, err := schema.ParseText(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
		_, single := got.Single()
		if single != (text == "@{k/a.o}" || text == `@{k/a.o["}"]}`) {
			t.Errorf("%q: single is %t", text, single)
		}
		if !schema.HasMark(text) && len(got.Refs()) > 0 {
			t.Errorf("%q has references and no mark", text)
		}
	}
	for _, text := range []string{"@{", "a@{k/a.o", "@{}", "@{k/a}", `@{k/a.o["}"}`, "@{ k/a.o}"} {
		if got, err := schema.ParseText(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

// write is the inverse of ParseText.
func write(t schema.Text) string {
	var b strings.Builder
	for _, s := range t {
		if s.Ref != nil {
			b.WriteString("@{" + s.Ref.String() + "}")
			continue
		}
		b.WriteString(strings.ReplaceAll(s.Lit, "@{", "@@{"))
	}
	return b.String()
}

// FuzzRef: what was read is written and read again as the same.
func FuzzRef(f *testing.F) {
	for _, seed := range []string{"a@{k/a.o}b", "@@{", "@@@{k/a.o}", `@{tofu.stack/n@eu.tags["a.b}"][0].x}`, "@{k/a.o[007]}", `@{k/a.o["\u0000é"]}`, "@{"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := schema.ParseText(s)
		if err != nil {
			return
		}
		if !schema.HasMark(s) && len(text.Refs()) > 0 {
			t.Fatalf("%q has references and no mark", s)
		}
		for _, r := range text.Refs() {
			if len(r.String()) > schema.MaxRef {
				return // escapes made it longer than it was
			}
			again, err := schema.ParseRef(r.String())
			if err != nil || again != r {
				t.Fatalf("%+v is written %s and read %+v, %v", r, r, again, err)
			}
		}
		again, err := schema.ParseText(write(text))
		if err != nil || !reflect.DeepEqual(again, text) {
			t.Fatalf("%q is %+v; written %q and read %+v, %v", s, text, write(text), again, err)
		}
	})
}
