package compile

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
)

// What is misspelled in a template is a finding at its line, and nothing that
// it was to bring about is left out in silence.
func TestTemplateTypos(t *testing.T) {
	for _, c := range []struct{ name, template, want string }{
		{"a flag", "#T: {\n\t@aplomb(template=\"T\")\n\tspec: {\n\t\tkey?: string @aplomb(secrets)\n\t}\n}\n",
			"templates:t.cue:6:16: the template T: key: @aplomb(secrets): nothing is called that here\n  hint: did you mean secret?\n"},
		{"a key", "#T: {\n\t@aplomb(template=\"T\", versoin=\"v2\")\n\tspec: {}\n}\n",
			"templates:t.cue:4:2: the template T: @aplomb(versoin): nothing is called that here\n  hint: did you mean version?\n"},
		{"that it is one", "#T: {\n\t@aplomb(tempalte=\"T\")\n\tspec: {}\n}\n",
			"templates:t.cue:4:2: #T: @aplomb(tempalte): nothing is called that here\n  hint: did you mean template?\n"},
		{"behind", "#T: {\n\tspec: {}\n} @aplomb(template=\"T\")\n",
			"templates:t.cue:5:3: #T: @aplomb(template=…) stands behind the struct\n  hint: put it within the braces, before the first field\n"},
		{"oneof", "#T: {\n\t@aplomb(template=\"T\")\n\tspec: {\n\t\t@aplomb(oneof=\"this taht\")\n\t\tthis?: string\n\t\tthat?: string\n\t}\n}\n",
			"templates:t.cue:5:8: the template T: @aplomb(oneof): there is no field taht beside it\n  hint: did you mean that?\n"},
		{"excludes", "#T: {\n\t@aplomb(template=\"T\")\n\tspec: {\n\t\tthis?: string @aplomb(excludes=\"taht\")\n\t\tthat?: string\n\t}\n}\n",
			"templates:t.cue:6:3: the template T: @aplomb(excludes): there is no field taht beside it\n  hint: did you mean that?\n"},
		{"a field", "#T: {\n\t@aplomb(template=\"T\")\n\tspec: {}\n\trefuses: []\n}\n",
			"templates:t.cue:6:2: the template T: unknown field refuses of a template\n  hint: did you mean refuse?\n"},
		{"a field of its own", "#T: {\n\t@aplomb(template=\"T\")\n\tspec: {}\n\tx: 1\n}\n",
			"templates:t.cue:6:2: the template T: unknown field x of a template\n  hint: a field of its own is hidden: _x\n"},
		{"of an output", "#T: {\n\t@aplomb(template=\"T\")\n\tspec: {}\n\toutputs: key: \"\"\n\toutputs: {\n\t\tother: \"\" @aplomb(sercet)\n\t}\n}\n",
			"templates:t.cue:8:13: the template T: @aplomb(sercet): nothing is called that here\n  hint: did you mean secret?\n"},
		{"a condition", "#T: {\n\t@aplomb(template=\"T\")\n\tspec: {\n\t\ta: int\n\t\tif a > 1 {b: int}\n\t}\n}\n",
			"templates:t.cue:7:3: the template T: a condition or a loop in a schema: only fields are understood\n  hint: an input is fixed: use refuse or resources for what depends on something\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := told(unfoldHere(t, files("a.yaml", useOf("T", "w", "{}")), files("t.cue", "package t\n\n"+c.template), nil))
			if !strings.Contains(got, c.want) || !strings.Contains(got, "a.yaml:2:7: ") {
				t.Errorf("findings:\n%swant:\n%s", got, c.want)
			}
		})
	}
}

// What a template refuses with is checked as well: the use is refused anyway.
func TestRefusalTypos(t *testing.T) {
	for refusal, want := range map[string]string{
		`field: "txt", message: "no"`: "a.yaml:1:1: T/w: its template refuses the field txt, which its input has not (also templates:t.cue:6:11)\n  hint: did you mean text?\n" +
			"a.yaml:1:1: T/w: no\n",
		`field: "spec.text", message: "no"`: "a.yaml:1:1: T/w: its template refuses the field spec.text, which its input has not (also templates:t.cue:6:11)\n  hint: fields are named below spec\n" +
			"a.yaml:4:14: T/w: no\n",
		`field: "text", mesage: "no"`: "a.yaml:1:1: T/w: its template refuses it without a message (also templates:t.cue:6:11)\n" +
			"a.yaml:1:1: T/w: its template refuses with mesage, which means nothing (also templates:t.cue:6:11)\n  hint: did you mean message?\n",
		`field: "env.a.b", message: "no"`: "a.yaml:4:22: T/w: no\n",
	} {
		template := "package t\n\n#T: {\n\t@aplomb(template=\"T\")\n\tspec: {text: *\"\" | string, env: {[string]: string}}\n\trefuse: [{" + refusal + "}]\n\tresources: {}\n}\n"
		wantTold(t, unfoldHere(t, files("a.yaml", useOf("T", "w", `{text: x, env: {a.b: c}}`)), files("t.cue", template), nil), want)
	}
}

// A link in the templates is not followed, and not passed over either; what
// cannot hold a template may be one.
func TestLinkedTemplates(t *testing.T) {
	tree := files("web.cue", pair)
	for name, to := range map[string]string{"v1.2": "x", "lost": "nowhere", "x/other.cue": "../web.cue", "README.md": "web.cue"} {
		tree[name] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte(to)}
	}
	want := ""
	for _, name := range []string{"lost", "v1.2", "x/other.cue"} {
		want += "templates:" + name + ":1:1: the templates cannot be read: a symbolic link: links are not followed\n  hint: put the file or folder itself here\n"
	}
	wantTold(t, unfoldHere(t, files("a.yaml", useOf("Pair", "w", "{}")), tree, nil), want)
}

// A schema of this program that says what means nothing does not load.
func TestSchemaTypos(t *testing.T) {
	for _, attr := range []string{"sercet", "oneof=a", "kind=x"} {
		text := "#K: {\n\t@aplomb(kind=\"x.k\", layer=mesh, deadline=1m)\n\tspec: {a?: string @aplomb(" + attr + ")}\n\t#outputs: {}\n}\n"
		f, err := parser.ParseFile("k.cue", text)
		if err != nil {
			t.Fatal(err)
		}
		def := cuecontext.New().BuildFile(f).LookupPath(cue.ParsePath("#K"))
		_, err = newKind(def, f.Decls[0].(*ast.Field).Value.(*ast.StructLit), "", definitionsOf([]*ast.File{f}))
		if e := (*schemaError)(nil); !errors.As(err, &e) {
			t.Errorf("%s: %v", attr, err)
		}
	}
}
