package schema_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

func TestID(t *testing.T) {
	for _, s := range []string{"local.file/a", "local.file/a@eu", "WebService/web-1", "nomad.job/" + strings.Repeat("a", 63)} {
		id, err := schema.ParseID(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if id.String() != s {
			t.Errorf("%s became %s", s, id)
		}
		text, err := json.Marshal(map[schema.ID]schema.ID{id: id})
		var back map[schema.ID]schema.ID
		if err != nil || json.Unmarshal(text, &back) != nil || back[id] != id {
			t.Errorf("%s: JSON %s, %v", s, text, err)
		}
	}
	for _, s := range []string{"", "a", "/", "a/", "/b", "a/B", "a/-b", "a/b-", "a/b@", "a/b@C", "a.b.c/d", "1a/b", "a/b/c", "a/b c", "a/" + strings.Repeat("a", 64), strings.Repeat("a", 129) + "/b"} {
		if id, err := schema.ParseID(s); err == nil {
			t.Errorf("%q was read as %s", s, id)
		}
	}
	var zero schema.ID
	if err := zero.UnmarshalText(nil); err != nil || zero != (schema.ID{}) {
		t.Errorf("the zero ID: %v", err)
	}
	if _, err := schema.ParseID(strings.Repeat("x", 10_000)); err == nil || len(err.Error()) > 1000 {
		t.Errorf("an error repeats all of its input: %v", err)
	}
}

func TestIDOrder(t *testing.T) {
	at := schema.ID{Kind: "local.file", Name: "a", Target: "eu"}
	for _, c := range []struct {
		want    schema.ID
		matches bool
	}{
		{schema.ID{Kind: "local.file", Name: "a"}, true},
		{at, true},
		{schema.ID{Kind: "local.file", Name: "a", Target: "us"}, false},
		{schema.ID{Kind: "local.port", Name: "a"}, false},
		{schema.ID{Kind: "local.file", Name: "b"}, false},
	} {
		if at.Matches(c.want) != c.matches {
			t.Errorf("%s matches %s: want %t", at, c.want, c.matches)
		}
		if (at.Compare(c.want) == 0) != (at == c.want) || at.Compare(c.want) != -c.want.Compare(at) {
			t.Errorf("%s and %s have no order", at, c.want)
		}
	}
	if at.Short() != "local.file/a" {
		t.Error(at.Short())
	}
}

func TestPath(t *testing.T) {
	for _, c := range []struct {
		steps []string
		path  schema.Path
		words string
	}{
		{nil, "", ""},
		{[]string{"a"}, "/a", "a"},
		{[]string{"group", "web", "count"}, "/group/web/count", "group.web.count"},
		{[]string{"sources", "0", "name"}, "/sources/0/name", "sources[0].name"},
		{[]string{"env", "a.b"}, "/env/a.b", `env["a.b"]`},
		{[]string{"a/b", "~", "~1"}, "/a~1b/~0/~01", `["a/b"]["~"]["~1"]`},
		{[]string{""}, "/", `[""]`},
		{[]string{"!instances", "0"}, "/!instances/0", "(instances/0)"},
	} {
		p := schema.Path("")
		for _, s := range c.steps {
			p = p.Child(s)
		}
		if p != c.path || p.String() != c.words || strings.Join(p.Steps(), "\x00") != strings.Join(c.steps, "\x00") {
			t.Errorf("%q is %q, %s, %q; want %q, %s", c.steps, string(p), p, p.Steps(), string(c.path), c.words)
		}
	}
	if p := schema.Path("/a").Index(3); p != "/a/3" {
		t.Error(p)
	}
	for _, c := range []struct {
		p, o schema.Path
		want bool
	}{{"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/a", "/a/b", false}, {"/a", "", true}} {
		if c.p.Within(c.o) != c.want {
			t.Errorf("%q within %q: want %t", string(c.p), string(c.o), c.want)
		}
	}
}

func TestDiagnostic(t *testing.T) {
	at := func(line, col int) schema.Pos { return schema.Pos{File: "a.yaml", Line: line, Col: col} }
	for _, c := range []struct {
		d    schema.Diagnostic
		want string
	}{
		{schema.Diagnostic{Message: "m"}, "m"},
		{schema.Diagnostic{Pos: schema.Pos{File: "a.yaml"}, Message: "m"}, "a.yaml: m"},
		{schema.Diagnostic{Pos: at(3, 0), Message: "m"}, "a.yaml:3: m"},
		{schema.Diagnostic{Pos: at(3, 4), Subject: "k/n", Message: "m"}, "a.yaml:3:4: k/n: m"},
		{schema.Diagnostic{Pos: at(3, 4), Message: "m", Also: []schema.Pos{at(1, 2)}}, "a.yaml:3:4: m (also a.yaml:1:2)"},
		{schema.Diagnostic{Message: "m", Also: []schema.Pos{at(1, 2), at(2, 2)}}, "m (also a.yaml:1:2, a.yaml:2:2)"},
	} {
		if got := c.d.String(); got != c.want {
			t.Errorf("%s; want %s", got, c.want)
		}
	}
	ds := schema.SortDiagnostics([]schema.Diagnostic{
		{Pos: at(10, 1), Message: "b"}, {Pos: at(9, 2), Message: "x"}, {Pos: at(10, 1), Message: "a"}, {Pos: at(9, 2), Message: "x"},
	})
	if len(ds) != 3 || ds[0].Message != "x" || ds[1].Message != "a" || ds[2].Message != "b" {
		t.Errorf("sorted: %v", ds)
	}
}

func TestClosest(t *testing.T) {
	fields := []string{"path", "content", "template", "vars", "mode"}
	for got, want := range map[string]string{
		"pth": "path", "Path": "path", "contnet": "content", "templates": "template", "mdoe": "mode",
		"wholly-different": "", "": "", "var": "vars", "x": "", "me": "",
	} {
		if c := schema.Closest(got, fields); c != want && !(got == "" && c == "") {
			t.Errorf("closest to %q is %q, want %q", got, c, want)
		}
	}
	if c := schema.Closest("local.prot", []string{"local.port", "local.process"}); c != "local.port" {
		t.Error(c)
	}
}

func TestActions(t *testing.T) {
	all := []schema.Action{schema.None, schema.Create, schema.Update, schema.Replace, schema.Delete, schema.Adopt, schema.Deferred}
	runes := map[string]bool{}
	for _, a := range all {
		runes[a.Rune()] = true
		if a.Milder(a) {
			t.Errorf("%s is milder than itself", a)
		}
		for _, b := range all {
			if a.Milder(b) && b.Milder(a) {
				t.Errorf("%s and %s are milder than each other", a, b)
			}
			if a.Milder(b) && a.Destroys() && !b.Destroys() {
				t.Errorf("%s destroys and is milder than %s", a, b)
			}
		}
	}
	if len(runes) != len(all) {
		t.Errorf("%d actions share %d runes", len(all), len(runes))
	}
	if !schema.Update.Milder(schema.Replace) || schema.Replace.Milder(schema.Delete) || schema.None.Milder(schema.Deferred) {
		t.Error("the order of mildness")
	}
}

func TestTree(t *testing.T) {
	tree := schema.Tree{{Path: "a", Data: []byte("1")}, {Path: "b/c", Data: []byte("2"), Exec: true}}
	if f, ok := tree.Get("b/c"); !ok || string(f.Data) != "2" {
		t.Error("b/c is not found")
	}
	if _, ok := tree.Get("b"); ok {
		t.Error("b is found")
	}
	if (schema.Tree{}).Hash() != "" {
		t.Error("an empty tree has a hash")
	}
	seen := map[string]bool{tree.Hash(): true}
	for _, other := range []schema.Tree{
		{{Path: "a", Data: []byte("1")}},
		{{Path: "a", Data: []byte("1"), Exec: true}, {Path: "b/c", Data: []byte("2"), Exec: true}},
		{{Path: "a", Data: []byte("12")}, {Path: "b/c", Exec: true}},
		{{Path: "a1"}, {Path: "b/c", Data: []byte("2"), Exec: true}},
	} {
		if seen[other.Hash()] {
			t.Errorf("%v has the hash of another", other)
		}
		seen[other.Hash()] = true
	}
}

func TestKinds(t *testing.T) {
	kinds := schema.Kinds()
	if len(kinds) == 0 {
		t.Fatal("no kinds")
	}
	for _, k := range kinds {
		if !schema.ValidKind(k.Name) || k.Doc == "" || k.Deadline < time.Second || len(k.Outputs) == 0 && !k.Declares() {
			t.Errorf("%s is incomplete: %+v", k.Name, k)
		}
		for _, f := range append(append([]schema.Field(nil), k.Fields...), k.Outputs...) {
			if f.Doc == "" || f.Type == "" {
				t.Errorf("%s: the field %s has no comment or no type", k.Name, f.Path)
			}
			if f.Default != "" && !json.Valid([]byte(f.Default)) {
				t.Errorf("%s: the default of %s is no JSON: %s", k.Name, f.Path, f.Default)
			}
		}
	}
	file, ok := schema.KindOf("local.file")
	if !ok {
		t.Fatal("no local.file")
	}
	if f, ok := file.Field("/vars/A"); !ok || !f.Secret {
		t.Errorf("a variable takes no secret: %+v", f)
	}
	if f, ok := file.Field("/path"); !ok || f.Secret || !f.Required {
		t.Errorf("path: %+v", f)
	}
	if _, ok := file.Field("/nothing"); ok {
		t.Error("a field that is none was found")
	}
	if o, ok := file.Output("path"); !ok || o.Type != "string" {
		t.Errorf("output path: %+v", o)
	}
	process, _ := schema.KindOf("local.process")
	if f, ok := process.Field("/type"); !ok || !f.Immutable || f.Default != `"service"` {
		t.Errorf("type: %+v", f)
	}
	secret, _ := schema.KindOf("local.secret")
	if o, _ := secret.Output("value"); !o.Secret || !secret.Data {
		t.Error("local.secret is no secret or no data")
	}
	if _, ok := schema.KindOf("local.none"); ok {
		t.Error("a kind that is none was found")
	}
}
