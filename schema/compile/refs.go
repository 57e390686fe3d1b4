package compile

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/aplomb-dev/aplomb/schema"
)

// text checks a string of a spec: its references, and the file that it names.
func (d *document) text(v *value, m *model, at schema.Path) {
	if schema.ForgesToken(v.text) {
		d.find(v.pos(d.file), d.base+at, "", "%s: [secret: stands for a secret's value on screens, and cannot be declared", d.base+at)
		return
	}
	if !schema.HasMark(v.text) {
		if m.File || m.Folder {
			d.fileField(v, m, at)
		}
		return
	}
	pos, full := v.pos(d.file), d.base+at
	if d.kind == nil {
		d.find(pos, full, "", "%s: a configuration holds no references", full)
		return
	}
	t, err := schema.ParseText(v.text)
	if err != nil {
		d.find(pos, full, "", "%s: %s", full, err)
		return
	}
	refs := t.Refs()
	if m.address || m.File || m.Folder {
		why := "it makes up the address"
		if !m.address {
			why = "it names a file of the repository"
		}
		d.find(pos, full, "", "%s cannot hold a reference: %s", full, why)
	}
	only, single := t.Single()
	for _, r := range refs {
		d.ref(r, m, pos, full, single)
	}
	if d.kindless(refs) {
		return // it is not looked for in the rest of the tree
	}
	f := schema.FieldRef{Path: at, Text: v.text, Secret: m.Secret, Pos: pos}
	if single && d.declaredElsewhere(only) {
		f.Takes = d.takes(m)
	}
	d.out.Refs = append(d.out.Refs, f)
}

// declaredElsewhere says whether r names an output that only the declaration
// which it refers to tells of.
func (d *document) declaredElsewhere(r schema.Ref) bool {
	if isTemplate(r.ID.Kind) {
		return true
	}
	k := d.checker.kinds[r.ID.Kind]
	_, fixed := k.Output(r.Output)
	return !fixed && k.Declares()
}

// outputTypes are the types that declared outputs may have, as CUE.
var outputTypes = []struct{ name, cue string }{{"string", "string"}, {"number", "number"}, {"bool", "bool"}, {"list", "[...]"}, {"map", "{...}"}}

// takes are the types of outputs that a field takes.
func (d *document) takes(m *model) []string {
	var all []string
	for _, t := range outputTypes {
		if m.accepts.Unify(d.checker.cctx.CompileString(t.cue)).Validate(cue.Concrete(false)) == nil {
			all = append(all, t.name)
		}
	}
	return all
}

// kindless says whether one of refs names a kind that there is not.
func (d *document) kindless(refs []schema.Ref) bool {
	return slices.ContainsFunc(refs, func(r schema.Ref) bool { return d.checker.kinds[r.ID.Kind] == nil && !isTemplate(r.ID.Kind) })
}

func (d *document) ref(r schema.Ref, m *model, pos schema.Pos, full schema.Path, single bool) {
	if isTemplate(r.ID.Kind) {
		if r.ID.Target != "" {
			d.find(pos, full, "", "%s: @{%s}: a use of a template has no target", full, r)
		}
		return // what it stands for is known once the use is unfolded
	}
	k := d.checker.kinds[r.ID.Kind]
	if k == nil {
		d.find(pos, full, d.kindHint(r.ID.Kind), "%s: @{%s}: unknown kind %s", full, r, r.ID.Kind)
		return
	}
	out, ok := k.Output(r.Output)
	if !ok && k.Declares() {
		return // the graph says, which knows what it refers to
	}
	if !ok {
		var names []string
		for _, o := range k.Outputs {
			names = append(names, o.Path.Steps()[0])
		}
		hint := didYouMean(closest(r.Output, names))
		if hint == "" {
			hint = r.ID.Kind + " has " + strings.Join(names, ", ")
		}
		d.find(pos, full, hint, "%s: @{%s}: %s has no output %s", full, r, r.ID.Kind, r.Output)
		return
	}
	if r.Path != "" && scalarTypes[out.Type] {
		d.find(pos, full, "", "%s: @{%s}: the output %s is %s and holds nothing below it", full, r, r.Output, article(out.Type))
		return
	}
	if !single && !scalarTypes[out.Type] {
		d.find(pos, full, "", "%s: @{%s}: inside a longer string only a scalar can stand", full, r)
	}
	if out.Secret && !m.Secret {
		d.find(pos, full, "a secret flows only into a field that takes secrets: "+d.secretFields(), "%s: @{%s} is a secret, and this field takes none", full, r)
	}
}

var scalarTypes = map[string]bool{"string": true, "int": true, "number": true, "bool": true}

func (d *document) secretFields() string {
	var names []string
	for _, f := range d.kind.Fields {
		if f.Secret && !strings.HasSuffix(string(f.Path), "/*") {
			names = append(names, ("/spec" + f.Path).String())
		}
	}
	switch by := d.secretsByName(); {
	case len(names) > 0:
		return strings.Join(names, ", ")
	case by != "":
		return d.kind.Name + " takes them by name, in " + by
	}
	return d.kind.Name + " has none"
}

// secretsByName is the field of a template's input that takes the names of
// secrets and not references to them, as the shipped ones do; "" is none.
func (d *document) secretsByName() string {
	for _, f := range d.kind.Fields {
		if isTemplate(d.kind.Name) && f.Path == "/secrets" {
			first, _, _ := strings.Cut(f.Doc, "\n")
			return strings.TrimSuffix("spec.secrets: "+first, ".")
		}
	}
	return ""
}

// refType is the CUE type that a string with references, or with an escaped
// @{, stands for: that of the output if it is nothing but a reference.
func refType(text string) string {
	t, err := schema.ParseText(text)
	if err != nil {
		return "_"
	}
	r, ok := t.Single()
	if !ok {
		return "string"
	}
	if k, ok := schema.KindOf(r.ID.Kind); ok && r.Path == "" {
		out, fixed := k.Output(r.Output)
		if fixed && scalarTypes[out.Type] {
			return out.Type
		}
		if !fixed && k.SecretsIn != "" && k.OutputsIn == "" {
			return "string"
		}
	}
	return "_"
}

// fileField notes a file or folder that a resource needs. emit writes its path
// below the root.
func (d *document) fileField(v *value, m *model, at schema.Path) {
	pos, full := v.pos(d.file), "/spec"+at
	text := v.text
	if m.Folder {
		text = strings.TrimSuffix(text, "/")
	}
	name, msg := within(d.folder(v), text)
	if m.Folder && msg == isFolder {
		msg = "is the root of the tree: it wants a folder of its own"
	}
	if msg != "" {
		d.find(pos, full, "", "%s: %q %s", full, shorten(v.text), msg)
		return
	}
	d.uses = append(d.uses, fileUse{Subject: d.subject, Path: at, File: name, Folder: m.Folder, Pos: pos})
}

const isFolder = "is a folder"

// folder is what a path in v is relative to: the folder of the file that v
// stands in. For a value from outside of the tree it is that of the declaration.
func (d *document) folder(v *value) string {
	if file := cmp.Or(v.file, d.file); !strings.HasPrefix(file, "../") {
		return path.Dir(file)
	}
	return path.Dir(d.file)
}

// within is the path below the root of a file that a declaration in dir names,
// or what is wrong with it.
func within(dir, name string) (clean, msg string) {
	switch {
	case name == "":
		return "", "names no file"
	case path.IsAbs(name):
		return "", "is an absolute path: files lie beside the declaration"
	case strings.ContainsAny(name, "\\\x00"):
		return "", `holds a character that paths cannot have here: \ or NUL`
	}
	clean = path.Join(dir, name)
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", "leaves the tree"
	}
	if clean == "." || strings.HasSuffix(name, "/") {
		return "", isFolder
	}
	if !fs.ValidPath(clean) {
		return "", "is not a path"
	}
	if slices.Contains(strings.Split(clean, "/"), ".git") {
		return "", "lies in a .git folder"
	}
	return clean, ""
}
