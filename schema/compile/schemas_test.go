package compile

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"
	"gopkg.in/yaml.v3"

	"github.com/aplomb-dev/aplomb/schema"
)

// kinds.json is what the schemas say. If this fails: go generate ./schema
func TestKindsAreGenerated(t *testing.T) {
	kinds, err := Kinds()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(kinds, schema.Kinds()) {
		t.Error("schema/kinds.json is not what the schemas say; run go generate in schema/")
	}
}

// What Go checks of the envelope is what the schema of the envelope says.
func TestEnvelopeIsTheSchema(t *testing.T) {
	insts := load.Instances([]string{"."}, &load.Config{FS: schema.FS(), Dir: "/", Env: []string{"CUE_REGISTRY=none"}})
	root := cuecontext.New().BuildInstance(insts[0])
	for def, want := range map[string][]string{"Metadata": metadataFields, "Resource": envelopeFields} {
		it, err := root.LookupPath(cue.MakePath(cue.Def(def))).Fields(cue.Optional(true))
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for it.Next() {
			have = append(have, it.Selector().Unquoted())
			if len(it.Value().Doc()) == 0 {
				t.Errorf("#%s.%s has no comment", def, it.Selector())
			}
		}
		slices.Sort(have)
		if sorted := slices.Sorted(slices.Values(want)); !slices.Equal(have, sorted) {
			t.Errorf("#%s has %q, Go checks %q", def, have, sorted)
		}
	}
	name := root.LookupPath(cue.ParsePath("#Name"))
	cctx := cuecontext.New()
	for _, s := range []string{"a", "a-b", "0", "-a", "a-", "A", "", "a.b", strings.Repeat("a", 63), strings.Repeat("a", 64)} {
		if fits := name.Unify(cctx.Encode(s)).Err() == nil; fits != schema.ValidName(s) {
			t.Errorf("%q is a name: %t in CUE, %t in Go", s, fits, schema.ValidName(s))
		}
	}
}

// Every schema is part of the envelope: the kind's own fields stand in spec
// and outputs only, and the kind in the attribute is the kind in the data.
func TestSchemasHaveTheEnvelope(t *testing.T) {
	_, kinds, err := loadSchemas(schema.FS())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if k.spec == nil || len(k.Outputs) == 0 && !k.Declares() {
			t.Errorf("%s has no spec or no outputs", k.Name)
		}
	}
	for i := range 4 {
		text := sample(i)
		res := compileHere(t, files("a.yaml", text))
		if len(res.Resources) != 1 {
			t.Fatal(res.Findings)
		}
		user := userModule(t, res.Resources[0].ID.Kind, text)
		if err := user.Validate(); err != nil {
			t.Errorf("the schema refuses what is accepted: %s", errors.Details(err, nil))
		}
	}
}

// userModule is a document as a user's CUE has it: unified with the definition
// that it imports.
func userModule(t *testing.T, kind, text string) cue.Value {
	t.Helper()
	def := strings.TrimPrefix(kind, "local.")
	def = strings.ToUpper(def[:1]) + def[1:]
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{"user/user.cue": {Data: fmt.Appendf(nil, "package user\nimport \"aplomb.dev/schema/local\"\nx: local.#%s\n", def)}}
	for _, pattern := range []string{"*.cue", "*/*.cue"} {
		names, err := fs.Glob(schema.FS(), pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			content, err := fs.ReadFile(schema.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			fsys[name] = &fstest.MapFile{Data: content}
		}
	}
	inst := load.Instances([]string{"./user"}, &load.Config{FS: fsys, Dir: "/", Env: []string{"CUE_REGISTRY=none"}})[0]
	if inst.Err != nil {
		t.Fatal(errors.Details(inst.Err, nil))
	}
	cctx := cuecontext.New()
	x := cctx.BuildInstance(inst).LookupPath(cue.ParsePath("x"))
	return x.Unify(cctx.CompileString(stripRefs(string(data))))
}

// stripRefs makes numbers of references to ports, as resolving them would.
func stripRefs(s string) string {
	for {
		at := strings.Index(s, `"@{local.port/`)
		end := strings.Index(s[max(at, 0):], `.port}"`)
		if at < 0 || end < 0 {
			return s
		}
		s = s[:at] + "8080" + s[at+end+len(`.port}"`):]
	}
}

// The spec that is answered is what CUE makes of the document, defaults filled
// in, in canonical form.
func TestSpecIsWhatCUESays(t *testing.T) {
	cctx, kinds, err := loadSchemas(schema.FS())
	if err != nil {
		t.Fatal(err)
	}
	for kind, specs := range map[string][]string{
		"local.file":    {`{path: a, content: "<&>\u2028é\n"}`, `{path: a, template: t, vars: {B: 1, A: "x", C: 1.5, D: true, E: -3, "a b": ""}, mode: "0600"}`},
		"local.port":    {`{}`, `{number: 80, host: "::"}`},
		"local.secret":  {`{}`, `{length: 8, rotate: 1h}`, `{age: x}`},
		"local.service": {`{port: 1}`, `{port: 65535, tags: [], checks: []}`, `{port: 2, tags: [b, a], checks: [{tcp: true}, {http: /, status: 500}]}`},
		"local.process": {`{argv: [a]}`, `{argv: [a, ""], env: {}, check: {tcp: "a:1"}, restart: {delay: 2s}, update: {}, stop: {signal: HUP}, type: batch}`},
	} {
		for _, spec := range specs {
			res := compileHere(t, files("a.yaml", fmt.Sprintf("apiVersion: aplomb.dev/v1\nkind: %s\nmetadata: {name: a}\nspec: %s\n", kind, spec), "t", ""))
			if len(res.Resources) != 1 {
				t.Errorf("%s %s: %v", kind, spec, res.Findings)
				continue
			}
			var plain any
			if err := yaml.Unmarshal([]byte(spec), &plain); err != nil {
				t.Fatal(err)
			}
			said, err := kinds[kind].spec.accepts.Unify(cctx.Encode(plain)).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := res.Resources[0].Spec, canonical(t, said); string(got) != string(want) {
				t.Errorf("%s %s:\n%s, CUE says\n%s", kind, spec, got, want)
			}
		}
	}
}

// canonical sorts keys and escapes no more than needed.
func canonical(t *testing.T, data []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return []byte(strings.TrimSpace(buf.String()))
}
