package edit

import (
	"bytes"
	"path"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/aplomb-dev/aplomb/schema"
)

// File is a file of declarations.
type File struct {
	Path string `json:"path"`
	Data []byte `json:"data"`
}

// Change is what became of one Set.
type Change struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after"`
	Same   bool   `json:"same,omitempty"` // it was so before
}

// Edited is a file with what was wanted.
type Edited struct {
	File    File       `json:"file"` // whole; with only what was the same, as it was
	Pos     schema.Pos `json:"pos"`  // of the declaration
	Changes []Change   `json:"changes"`

	Was []byte `json:"was"` // the file as it was
}

// Changed says whether anything is another than it was.
func (e Edited) Changed() bool {
	for _, c := range e.Changes {
		if !c.Same {
			return true
		}
	}
	return false
}

var bom = []byte("\uFEFF")

// Apply finds the declaration of id in files, and sets what is wanted in it:
// all or nothing.
func Apply(files []File, id schema.ID, sets []Set) (Edited, error) {
	if len(sets) == 0 || len(sets) > MaxSets {
		return Edited{}, refuse(0, "", "between 1 and %d values are set at once", MaxSets)
	}
	for i, s := range sets {
		if err := s.Check(); err != nil {
			return Edited{}, err
		}
		for _, o := range sets[:i] {
			if o.Path == s.Path {
				return Edited{}, refuse(0, "say it once", "%s is set twice", clip(s.Path))
			}
		}
	}
	f, doc, err := find(files, id)
	if err != nil {
		return Edited{}, err
	}
	out := Edited{Was: f.Data, Pos: schema.Pos{File: f.Path, Line: doc.line}}
	data, marked := bytes.CutPrefix(f.Data, bom)
	for _, s := range sets {
		c := Change{Path: s.Path}
		before := data
		if data, c.Before, c.After, err = setOne(data, doc.index, strings.EqualFold(path.Ext(f.Path), ".json"), s); err != nil {
			return Edited{}, in(f.Path, err)
		}
		c.Same = bytes.Equal(before, data)
		out.Changes = append(out.Changes, c)
	}
	if marked {
		data = append(bytes.Clone(bom), data...)
	}
	out.File = File{f.Path, data}
	return out, nil
}

// in says which file an error is about.
func in(file string, err error) error {
	if e, ok := err.(*Error); ok && e.File == "" {
		e.File = file
	}
	return err
}

// setOne sets one value in a document of a file.
func setOne(data []byte, index int, json bool, s Set) (out []byte, before, after string, err error) {
	docs, err := parse(data)
	if err != nil || index >= len(docs) {
		return nil, "", "", refuse(0, "aplomb validate says where", "it does not parse")
	}
	steps, err := parsePath(s.Path)
	if err != nil {
		return nil, "", "", err
	}
	root := docs[index].Content[0]
	e := editor{text: newText(data), set: s, in: surrounds{flow: json, json: json}, from: append([]step{{key: "spec"}}, steps...), step: indent(root)}
	if _, spec, _ := field(root, "spec"); steps[0].key == "spec" && (spec == nil || !has(spec, "spec")) {
		return nil, "", "", refuse(docs[index].Line, "leave the first step out: paths begin below the spec", "%s: the spec has no field spec", clip(s.Path))
	}
	if out, before, err = e.apply(root); err != nil {
		return nil, "", "", err
	}
	var old *yaml.Node
	if p, err := e.find(root); err == nil && len(p.rest) == 0 {
		old = p.node
	}
	if bytes.Equal(out, data) {
		return out, before, wanted(s, old).text, nil
	}
	return out, before, wanted(s, old).text, e.verify(docs, index, out)
}

// indent is by how much the document indents what is nested; two where nothing
// says so.
func indent(root *yaml.Node) int {
	for i := 1; i < len(root.Content); i += 2 {
		if v := root.Content[i]; v.Kind == yaml.MappingNode && v.Style&yaml.FlowStyle == 0 && v.Column > root.Column {
			return min(v.Column-root.Column, 8)
		}
	}
	return 2
}
