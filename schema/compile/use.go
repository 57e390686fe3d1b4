package compile

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// templateUse is a use of a template as its file says it: what the second stage
// unfolds. Reading a file knows no templates, so that what it yielded can be
// cached by the file alone.
type templateUse struct {
	File string `json:"file"`
	// Declared is what the document says of itself: ID is TEMPLATE/NAME, and it
	// has no Spec.
	Declared schema.Resource `json:"declared"`
	Pin      string          `json:"pin,omitempty"` // "v2"; "" is the newest
	KindPos  schema.Pos      `json:"kindPos"`
	Spec     *value          `json:"spec"`
}

// use is the template as screens and needs name it.
func (u *templateUse) use() *schema.Use {
	return &schema.Use{Template: u.Declared.ID.Kind, Name: u.Declared.ID.Name, Pos: u.Declared.Pos}
}

// versionRE is what versions of templates look like: v10 is newer than v9.
var versionRE = regexp.MustCompile(`^v[0-9]{1,6}$`)

// isTemplate says of a kind whether it names a template.
func isTemplate(kind string) bool { return kind != "" && !strings.Contains(kind, ".") }

// kindOnly is a kind without the version that it pins.
func kindOnly(text string) string {
	name, _, _ := strings.Cut(text, "@")
	return name
}

// pinned takes the kind of a use.
func (d *document) pinned(v *value) {
	name, version, pinned := strings.Cut(v.text, "@")
	if at := schema.Path("/kind"); pinned && !versionRE.MatchString(version) {
		d.find(v.pos(d.file), at, "a version is a v and a number: "+shorten(name)+"@v2", "%s: %s pins no version of a template", at, v.words())
		return
	}
	d.use = &templateUse{File: d.file, Pin: version, KindPos: v.pos(d.file)}
	d.out.ID.Kind = name
}

// useOnly refuses, of a use, what only a single resource has.
func (d *document) useOnly(meta *value) {
	if d.use == nil {
		return
	}
	for _, name := range []string{"target", "targets", "was"} {
		if v := meta.get(name); v != nil {
			hint := "the template says where what it yields lives, from the values of the environment"
			if name == "was" {
				hint = "a use has no address of its own"
			}
			at := schema.Path("/metadata").Child(name)
			d.find(v.pos(d.file), at, hint, "%s cannot stand in a use of a template", at)
		}
	}
	d.out.Targets, d.adrift = nil, false
}

// wireValue is a value as it travels and is cached.
type wireValue struct {
	Kind    valueKind `json:"k"`
	Text    string    `json:"t,omitempty"`
	Raw     string    `json:"r,omitempty"`
	Items   []*value  `json:"i,omitempty"`
	Keys    []wireKey `json:"n,omitempty"`
	File    string    `json:"f,omitempty"`
	At      [2]int    `json:"p"`
	Partial bool      `json:"m,omitempty"`
}

type wireKey struct {
	Name string `json:"n"`
	File string `json:"f,omitempty"`
	At   [2]int `json:"p"`
}

// MarshalJSON is the value with its places.
func (v *value) MarshalJSON() ([]byte, error) {
	w := wireValue{Kind: v.kind, Text: v.text, Raw: v.raw, Items: v.items, File: v.file, At: [2]int{v.line, v.col}, Partial: v.partial}
	for _, k := range v.keys {
		w.Keys = append(w.Keys, wireKey{Name: k.name, File: k.file, At: [2]int{k.line, k.col}})
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *value) UnmarshalJSON(data []byte) error {
	var w wireValue
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	if w.Kind > mapValue || w.Kind == mapValue && len(w.Keys) != len(w.Items) {
		return fmt.Errorf("a value of kind %d with %d keys and %d items", w.Kind, len(w.Keys), len(w.Items))
	}
	*v = value{kind: w.Kind, text: w.Text, raw: w.Raw, items: w.Items, file: w.File, line: w.At[0], col: w.At[1], partial: w.Partial}
	for _, k := range w.Keys {
		v.keys = append(v.keys, key{name: k.Name, file: k.File, line: k.At[0], col: k.At[1]})
	}
	v.height, v.nodes, v.bytes = 1, 1, len(v.text)
	for i, item := range v.items {
		if item == nil {
			return fmt.Errorf("a value without its item %d", i)
		}
		v.height = max(v.height, item.height+1)
		v.nodes += item.nodes
		v.bytes += item.bytes
	}
	return nil
}
