package terminal

import (
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// Kinds writes the list of kinds, layer by layer.
func (p *Printer) Kinds(kinds []schema.Kind) {
	for _, layer := range schema.Layers {
		var rows [][]cell
		for _, k := range kinds {
			if k.Layer == layer {
				rows = append(rows, []cell{styled(k.Name, bold), text(first(k.Doc))})
			}
		}
		if len(rows) > 0 {
			p.line(text(layer))
			p.rows(2, rows, true)
		}
	}
}

// Kind writes a kind's schema as help.
func (p *Printer) Kind(k schema.Kind) {
	p.prose(4, styled(k.Name, bold), text("   layer "+k.Layer+marks(schema.Field{Data: k.Data})))
	p.doc(2, k.Doc)
	p.section("spec")
	p.fields(k.Fields)
	p.section("outputs")
	p.fields(k.Outputs)
	for _, in := range []schema.Path{k.OutputsIn, k.SecretsIn} {
		if in != "" {
			p.Note("  and each key of spec." + in.String())
		}
	}
}

// Field writes one field of a kind and what lies below it.
func (p *Printer) Field(k schema.Kind, f schema.Field) {
	p.prose(4, styled(k.Name+"."+fieldName(f.Path), bold), text("   "+f.Type+marks(f)))
	p.doc(2, f.Doc)
	var below []schema.Field
	for _, o := range k.Fields {
		if o.Path != f.Path && o.Path.Within(f.Path) {
			below = append(below, o)
		}
	}
	if len(below) > 0 {
		p.section("fields")
		p.fields(below)
	}
}

func (p *Printer) fields(fs []schema.Field) {
	if len(fs) == 0 {
		p.Note("  (none)")
		return
	}
	for _, f := range fs {
		p.prose(6, text("  "), styled(fieldName(f.Path), bold), text("   "+f.Type+marks(f)))
		p.doc(6, f.Doc)
	}
}

// fieldName is a field's path with * for any key and [] for any element.
func fieldName(path schema.Path) string {
	return strings.NewReplacer(`["*"]`, ".*").Replace(path.String())
}

// marks are what is special about a field.
func marks(f schema.Field) string {
	var all []string
	if f.Required {
		all = append(all, "required")
	}
	if f.Default != "" {
		all = append(all, "default "+f.Default)
	}
	for _, m := range []struct {
		is   bool
		word string
	}{
		{f.Secret, "secret"}, {f.Immutable, "immutable: changing it makes the resource anew"},
		{f.Data, "holds data"}, {f.File, "a file beside the declaration"},
	} {
		if m.is {
			all = append(all, m.word)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "   (" + strings.Join(all, "; ") + ")"
}

func first(doc string) string {
	doc, _, _ = strings.Cut(strings.TrimSpace(doc), "\n\n")
	doc = strings.Join(strings.Fields(doc), " ")
	if s, _, ok := strings.Cut(doc, ". "); ok {
		return s + "."
	}
	return doc
}

// doc writes documentation, filled to the width by whole words.
func (p *Printer) doc(indent int, doc string) {
	width := p.Width
	if width <= 0 || width > 100 {
		width = 100
	}
	for i, par := range strings.Split(strings.TrimSpace(doc), "\n\n") {
		line := ""
		if i > 0 {
			p.blank()
		}
		for _, w := range strings.Fields(par) {
			if line != "" && indent+cells1(line)+1+cells1(w) > width {
				p.line(text(strings.Repeat(" ", indent) + line))
				line = ""
			}
			line = join(line, w, " ")
		}
		if line != "" {
			p.line(text(strings.Repeat(" ", indent) + line))
		}
	}
}
