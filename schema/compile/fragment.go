package compile

import (
	"slices"

	"github.com/aplomb-dev/aplomb/schema"
)

// fragment is what is known of a declaration that has findings. A Kind or Name
// that is empty may be any; the zero fragment stands for any number of
// declarations, such as those of a file that does not parse.
type fragment struct {
	Kind    string            `json:"kind,omitempty"`
	Name    string            `json:"name,omitempty"`
	Targets []string          `json:"targets,omitempty"` // "" among them: they are not known
	Needs   []schema.Need     `json:"needs,omitempty"`   // those that make sense
	Refs    []schema.FieldRef `json:"refs,omitempty"`    // likewise
	Pos     schema.Pos        `json:"pos"`
}

// resource is the fragment as graph.Check knows it: without a spec.
func (f fragment) resource() schema.Resource {
	if isTemplate(f.Kind) { // what it yields is not known, but for what it would be named after
		return schema.Resource{
			ID: schema.ID{Name: f.Name}, Needs: f.Needs, Refs: f.Refs, Pos: f.Pos,
			Use: &schema.Use{Template: f.Kind, Name: f.Name, Pos: f.Pos},
		}
	}
	return schema.Resource{
		ID: schema.ID{Kind: f.Kind, Name: f.Name}, Targets: f.Targets, Needs: f.Needs, Refs: f.Refs, Pos: f.Pos,
	}
}

// fragment is what is left of a document with findings.
func (d *document) fragment() fragment {
	f := fragment{Kind: d.out.ID.Kind, Name: d.out.ID.Name, Targets: d.out.Targets, Needs: d.out.Needs, Refs: d.out.Refs, Pos: d.out.Pos}
	if d.adrift {
		f.Targets = []string{""}
	}
	return f
}

// stray is what a document without an apiVersion may declare once it has one;
// false where nothing about it looks like a declaration. declares says so of
// the text of the file around it, for what could not be read.
func (d *document) stray(declares bool) (fragment, bool) {
	f := fragment{Targets: []string{""}, Pos: d.root.pos(d.file)}
	k, n := d.root.get("kind"), d.root.get("metadata").get("name")
	if k != nil && d.checker.kinds[k.text] != nil {
		f.Kind = k.text
	}
	if n != nil && schema.ValidName(n.text) {
		f.Name = n.text
	}
	held := slices.ContainsFunc(d.root.items, func(v *value) bool { return v.get("kind") != nil })
	return f, k != nil || n != nil || held || declares && d.root.kind == brokenValue
}
