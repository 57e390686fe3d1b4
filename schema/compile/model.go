package compile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"github.com/aplomb-dev/aplomb/schema"
)

type shape uint8

const (
	leaf shape = iota
	fields
	mapping
	list
	anything // values of any shape, to any depth
)

// model is what is known of one field of a kind, taken from its schema once,
// so that a document can be walked without asking CUE for every step.
type model struct {
	schema.Field
	name     string
	shape    shape
	optional bool     // nothing is filled in where it is left out
	fill     string   // the default, as JSON
	fields   []*model // in the schema's order
	sorted   []*model // by name
	byName   map[string]*model
	elem     *model     // of a list or mapping; of anything: itself
	head     []ast.Expr // of a list: elements that must be there, as written
	oneof    []string   // exactly one of these fields
	excludes []string   // siblings that cannot stand beside it
	address  bool       // makes up the address: no references
	accepts  cue.Value  // the constraint itself
	expr     ast.Expr   // the same, as written
	words    string     // for people, where expr says too little
	narrow   []string   // what is asked beside expr, for people
}

// kind is a kind with the model of its spec.
type kind struct {
	schema.Kind
	spec *model
}

// names are the fields that may stand here.
func (m *model) names() []string {
	var names []string
	for _, f := range m.fields {
		names = append(names, f.name)
	}
	return names
}

// child is the model of a map's key or of a list's element, or nil.
func (m *model) child(step string) *model {
	if m.shape == fields {
		return m.byName[step]
	}
	return m.elem
}

// newKind reads the definition of a kind. decl is its source.
func newKind(def cue.Value, decl *ast.StructLit, doc string, defs *definitions) (*kind, error) {
	attrs := declared(decl)
	k := &kind{Kind: schema.Kind{Name: attrs["kind"], Layer: attrs["layer"], Doc: doc}}
	_, k.Data = attrs["data"]
	for attr, in := range map[string]*schema.Path{"outputs": &k.OutputsIn, "secrets": &k.SecretsIn} {
		if name := attrs[attr]; name != "" {
			*in = schema.Path("").Child(name)
		}
	}
	var err error
	if k.Deadline, err = time.ParseDuration(attrs["deadline"]); err != nil {
		return nil, fmt.Errorf("deadline of %s: %w", k.Name, err)
	}
	if !slices.Contains(schema.Layers, k.Layer) {
		return nil, fmt.Errorf("layer of %s: %q is none", k.Name, k.Layer)
	}
	root, err := newModel(def, decl, defs)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", k.Name, err)
	}
	k.spec = root.byName["spec"]
	k.Fields = k.spec.flatten(nil)
	for _, out := range root.byName["#outputs"].fields {
		out.Field.Path = schema.Path("").Child(out.name)
		out.Field.Required = false
		k.Outputs = append(k.Outputs, out.Field)
	}
	return k, nil
}

// newModel reads a field's constraint. What is not known statically, such as a
// conditional field, is refused: the models could not say what CUE says.
func newModel(v cue.Value, expr ast.Expr, defs *definitions) (*model, error) {
	m := &model{accepts: v, expr: expr}
	m.Type = typeOf(expr)
	switch x := expr.(type) {
	case *ast.StructLit:
		if err := ofStruct.check(structAttributes(x)); err != nil {
			return nil, err
		}
		m.oneof = strings.Fields(declared(x)["oneof"])
		return m, m.readStruct(v, x, defs)
	case *ast.ListLit:
		m.shape = list
		return m, m.readList(v, x, defs)
	case *ast.Ident:
		if x.Name == "_" {
			m.shape, m.elem = anything, m
			return m, nil
		}
		if lit := defs.lits[x.Name]; lit != nil {
			return m, m.refer(v, x.Name, lit, defs)
		}
		m.words = defs.words(x)
	}
	if d, ok := v.Default(); ok && d.IsConcrete() {
		b, err := d.MarshalJSON()
		if err != nil {
			return nil, err
		}
		m.fill = string(b)
	}
	m.Default = m.fill
	return m, nil
}

func (m *model) readStruct(v cue.Value, lit *ast.StructLit, defs *definitions) error {
	m.shape, m.byName = fields, map[string]*model{}
	for _, decl := range lit.Elts {
		f, ok := decl.(*ast.Field)
		if !ok {
			if _, ok := decl.(*ast.Attribute); ok {
				continue
			}
			return notField(decl)
		}
		if pattern, ok := f.Label.(*ast.ListLit); ok && len(pattern.Elts) == 1 {
			elem, err := newModel(v.LookupPath(cue.MakePath(cue.AnyString)), f.Value, defs)
			if err != nil {
				return err
			}
			m.shape, m.elem = mapping, elem
			elem.name, elem.optional = "*", true
			continue
		}
		name, _, err := ast.LabelName(f.Label)
		if err != nil {
			return err
		}
		child, err := newField(v, name, f, defs)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		m.fields = append(m.fields, child)
		m.byName[name] = child
	}
	m.sorted = slices.SortedFunc(slices.Values(m.fields), func(a, b *model) int { return strings.Compare(a.name, b.name) })
	return m.siblings(lit)
}

func newField(v cue.Value, name string, f *ast.Field, defs *definitions) (*model, error) {
	sel := cue.Str(name)
	if strings.HasPrefix(name, "#") {
		sel = cue.Def(name)
	}
	mark := f.Constraint.String()
	switch mark {
	case "?":
		sel = sel.Optional()
	case "!":
		sel = sel.Required()
	}
	at := v.LookupPath(cue.MakePath(sel))
	if !at.Exists() {
		return nil, fmt.Errorf("no such field: %w", at.Err())
	}
	child, err := newModel(at, f.Value, defs)
	if err != nil {
		return nil, err
	}
	if err := ofField.check(f.Attrs); err != nil {
		return nil, err
	}
	attrs := attributes(f.Attrs)
	child.name, child.Doc = name, docOf(f)
	child.Required, child.optional = mark == "!", mark == "?"
	child.excludes = strings.Fields(attrs["excludes"])
	for flag, field := range map[string]*bool{
		"secret": &child.Secret, "immutable": &child.Immutable, "data": &child.Data, "file": &child.File, "folder": &child.Folder, "address": &child.address,
	} {
		_, *field = attrs[flag]
	}
	return child, nil
}

func (m *model) readList(v cue.Value, lit *ast.ListLit, defs *definitions) error {
	for _, e := range lit.Elts {
		more, ok := e.(*ast.Ellipsis)
		if !ok {
			m.head = append(m.head, e)
			m.Type = typeOf(lit)
			continue
		}
		elem, err := newModel(v.LookupPath(cue.MakePath(cue.AnyIndex)), more.Type, defs)
		if err != nil {
			return err
		}
		m.elem = elem
		elem.name, elem.optional = "*", true
	}
	if m.elem == nil {
		return fmt.Errorf("a list without ... in a schema")
	}
	return nil
}

// flatten lists the fields below m, nested ones after their parent.
func (m *model) flatten(path []string) []schema.Field {
	below := m.fields
	if m.elem != nil && m.shape != anything {
		below = []*model{m.elem}
	}
	var all []schema.Field
	for _, f := range below {
		at := append(slices.Clip(path), f.name)
		f.Field.Path = ""
		for _, step := range at {
			f.Field.Path = f.Field.Path.Child(step)
		}
		f.Secret = f.Secret || m.Secret
		if f.name == "*" {
			f.Doc = m.Doc
		}
		all = append(append(all, f.Field), f.flatten(at)...)
	}
	return all
}

// docOf is the comment above a field or definition, on one line a paragraph.
func docOf(n ast.Node) string {
	var paragraphs []string
	for _, group := range ast.Comments(n) {
		if !group.Doc {
			continue
		}
		for p := range strings.SplitSeq(strings.TrimSpace(group.Text()), "\n\n") {
			paragraphs = append(paragraphs, strings.Join(strings.Fields(p), " "))
		}
	}
	return strings.Join(paragraphs, "\n\n")
}
