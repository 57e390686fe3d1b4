package compile

import (
	"cmp"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// Template is one version of a template, as help and findings know it.
type Template struct {
	schema.Kind            // Name is its own; it has no Layer and no Deadline, and Fields are those of its input
	Version     string     `json:"version,omitempty"` // "v2"; "" where it has none
	Pos         schema.Pos `json:"pos"`               // of its definition, see templatePrefix
}

// String is the template as a use that pins it names it.
func (t Template) String() string {
	if t.Version == "" {
		return t.Name
	}
	return t.Name + "@" + t.Version
}

// templatePrefix stands before the files of the operator's templates in
// positions, which lie in a tree of their own.
const templatePrefix = "templates:"

// InTemplate says whether a place is in a template, and not in the tree of
// declarations.
func InTemplate(p schema.Pos) bool {
	return strings.HasPrefix(p.File, templatePrefix) || strings.HasPrefix(p.File, cueload.TemplatesPath+"/")
}

// templateSetup is what all uses of one environment share.
type templateSetup struct {
	Bundles     []*cueload.Bundle          `json:"bundles"` // of the operator's tree
	Shipped     bool                       `json:"shipped"` // those that are shipped, instead
	Environment string                     `json:"environment"`
	Values      map[string]json.RawMessage `json:"values"`
}

// template is a Template that can be unfolded.
type template struct {
	Template
	def   string    // "#WebService"
	input *kind     // its spec, checked as that of a kind
	value cue.Value // the definition, whose spec takes references
}

// templates are those of one setup, evaluated. It is what runs in a worker; not
// safe for concurrent use.
type templates struct {
	templateSetup
	limits   Limits
	cctx     *cue.Context // in which they are unfolded
	input    *checker     // of inputs; its context is another
	named    map[string][]*template
	faulty   map[string]schema.Pos // templates with findings, by their name
	findings []schema.Diagnostic
	used     int // uses since the contexts were made
}

func newTemplates(s templateSetup, limits Limits, kinds map[string]*kind) *templates {
	t := &templates{
		templateSetup: s, limits: limits, named: map[string][]*template{}, faulty: map[string]schema.Pos{},
		cctx: cuecontext.New(), input: &checker{limits: limits, cctx: cuecontext.New(), kinds: kinds},
	}
	if s.Shipped {
		t.bundle(cueload.Shipped())
	}
	for _, b := range s.Bundles {
		t.bundle(b)
	}
	for _, versions := range t.named {
		slices.SortFunc(versions, func(a, b *template) int { return newer(a.Version, b.Version) })
	}
	t.findings = bound(schema.SortDiagnostics(t.findings))
	return t
}

// newer orders versions, the newest first.
func newer(a, b string) int { return cmp.Compare(versionNumber(b), versionNumber(a)) }

func versionNumber(v string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(v, "v"))
	if err != nil {
		return -1 // the one without a version
	}
	return n
}

// bundle reads the templates of one package. It is evaluated twice: inputs are
// checked against what the template says, and unfolded where it takes
// references in their place.
func (t *templates) bundle(b *cueload.Bundle) {
	defer func() {
		if r := recover(); r != nil { // a fault of CUE is a finding too
			t.find(schema.Pos{File: templatePrefix + cmp.Or(b.File, b.Dir), Line: 1, Col: 1}, "", "the templates cannot be read: %s", shorten(fmt.Sprint(r)))
		}
	}()
	plain, err := t.instance(b)
	if err != nil {
		t.cueErrors(b, err)
		t.lost(b, plain)
		return
	}
	open, err := t.instance(b)
	if err != nil {
		t.cueErrors(b, err)
		return
	}
	cueload.TakeReferences(open)
	root, taking := t.input.cctx.BuildInstance(plain), t.cctx.BuildInstance(open)
	if err := cmp.Or(root.Err(), taking.Err()); err != nil {
		t.cueErrors(b, err)
		t.lost(b, plain)
		return
	}
	for _, d := range t.definitions(b, plain) {
		t.add(d, root, taking)
	}
}

func (t *templates) instance(b *cueload.Bundle) (*build.Instance, error) {
	inst, err := b.Load()
	if err == nil && t.Shipped {
		return inst.Imports[0], nil
	}
	return inst, err
}

// add reads one definition.
func (t *templates) add(d definition, root, taking cue.Value) {
	at := templatePos(d.field.Pos())
	name, version := d.attrs["template"], d.attrs["version"]
	sel := cue.MakePath(cue.Def(d.name))
	def := root.LookupPath(sel)
	input, err := d.model(def, name)
	switch {
	case !schema.ValidKind(name) || !isTemplate(name):
		t.find(at, "", "the template %s: %q is no name: letters and digits, without a dot", d.name, shorten(name))
	case version != "" && !versionRE.MatchString(version):
		t.find(at, "", "the template %s: %q is no version: a v and a number", name, shorten(version))
	case err != nil:
		t.faulty[name] = at
		hint, there := "an input is a fixed set of fields, as the schema of a kind is", at
		if e := (*schemaError)(nil); stderrors.As(err, &e) {
			hint = e.hint
			if p := templatePos(e.pos); p.Line > 0 {
				there = p
			}
		}
		t.find(there, hint, "the template %s: %s", name, err)
	default:
		tmpl := &template{def: d.name, input: input, value: taking.LookupPath(sel), Template: Template{Kind: input.Kind, Version: version, Pos: at}}
		for _, other := range t.named[name] {
			if other.Version == version {
				t.find(at, "", "the template %s is defined twice", tmpl)
				t.findings[len(t.findings)-1].Also = []schema.Pos{other.Pos}
				return
			}
		}
		t.named[name] = append(t.named[name], tmpl)
	}
}

func (t *templates) find(pos schema.Pos, hint, format string, args ...any) {
	t.findings = append(t.findings, schema.Diagnostic{Pos: pos, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// cueErrors reports why a package does not load.
func (t *templates) cueErrors(b *cueload.Bundle, err error) {
	const most = 20
	for i, e := range errors.Errors(err) {
		if i == most {
			break
		}
		at := schema.Pos{File: templatePrefix + cmp.Or(b.File, b.Dir), Line: 1, Col: 1}
		for _, p := range errors.Positions(e) {
			if cueload.Own(p.Filename()) {
				at = templatePos(p)
				break
			}
		}
		msg, hint := buildWords(e)
		t.find(at, hint, "the templates do not load: %s", msg)
	}
}

// lost notes the templates of a package that does not load, as far as it can be
// parsed.
func (t *templates) lost(b *cueload.Bundle, inst *build.Instance) {
	if inst == nil {
		return
	}
	for _, d := range t.definitions(b, inst) {
		t.faulty[d.attrs["template"]] = templatePos(d.field.Pos())
	}
}

// templatePos is a place in a template.
func templatePos(p token.Pos) schema.Pos {
	at := schema.Pos{File: p.Filename(), Line: p.Line(), Col: p.Column()}
	if cueload.Own(at.File) {
		at.File = templatePrefix + at.File
	}
	return at
}

// all are the templates by name, the newest version first.
func (t *templates) all() []Template {
	var all []Template
	for _, name := range slices.Sorted(maps.Keys(t.named)) {
		for _, v := range t.named[name] {
			all = append(all, v.Template)
		}
	}
	return all
}

// own says of a file of an instance whether it lies in the folder of the bundle:
// what lies above is of another.
func own(b *cueload.Bundle, file string) bool {
	if !cueload.Own(file) {
		return true
	}
	if b.File != "" {
		return file == b.File
	}
	return path.Dir(file) == b.Dir
}
