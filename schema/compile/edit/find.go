package edit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/aplomb-dev/aplomb/schema"
)

// document is one that declares what was asked for.
type document struct {
	index   int // in its file
	line    int
	targets []string // nil: it does not say
}

// MayDeclare says, without parsing it, whether a file can declare something of
// that name.
func MayDeclare(data []byte, id schema.ID) bool {
	return bytes.Contains(data, []byte(id.Name)) && bytes.Contains(data, []byte(id.Kind))
}

// find is the one document that declares id.
func find(files []File, id schema.ID) (File, document, error) {
	var at File
	var doc *document
	for _, f := range files {
		if !MayDeclare(f.Data, id) {
			continue
		}
		data, _ := bytes.CutPrefix(f.Data, bom)
		docs, err := parse(data)
		if err != nil {
			return File{}, document{}, in(f.Path, refuse(0, "aplomb validate says where", "it does not parse"))
		}
		for i, n := range docs {
			d, ok := declares(n, id)
			if !ok {
				continue
			}
			if doc != nil {
				return File{}, document{}, twice(id, f.Path, d.line, at.Path, doc.line)
			}
			d.index = i
			at, doc = f, &d
		}
	}
	if doc == nil {
		return File{}, document{}, notFound(id)
	}
	if id.Target != "" && len(doc.targets) > 1 {
		return File{}, document{}, in(at.Path, refuse(doc.line, "leave the target out to change it for all of them, or declare it for each", "one declaration is %s for %s", id.Short(), strings.Join(doc.targets, ", ")))
	}
	return at, *doc, nil
}

func notFound(id schema.ID) error {
	return &Error{Msg: "no YAML or JSON file declares " + id.String(), Help: "aplomb status --all lists what there is", Missing: true}
}

func twice(id schema.ID, file string, line int, other string, at int) error {
	return &Error{File: file, Line: line, Msg: fmt.Sprintf("%s is declared at %s:%d, too", id, other, at), Help: "name one of them: KIND/NAME@TARGET"}
}

// declares says whether a document is a declaration of id. One that names no
// target may be any.
func declares(n *yaml.Node, id schema.ID) (document, bool) {
	if len(n.Content) != 1 || n.Content[0].Kind != yaml.MappingNode {
		return document{}, false
	}
	root := n.Content[0]
	version, kind := child(root, "apiVersion"), child(root, "kind")
	meta := child(root, "metadata")
	if version == nil || version.Value != schema.APIVersion || kind == nil || meta == nil {
		return document{}, false
	}
	kindName, _, _ := strings.Cut(kind.Value, "@") // without the version that a use pins
	name := child(meta, "name")
	if kindName != id.Kind || name == nil || name.Value != id.Name {
		return document{}, false
	}
	d := document{line: root.Line}
	if t := child(meta, "target"); t != nil {
		d.targets = []string{t.Value}
	}
	if all := child(meta, "targets"); all != nil {
		for _, t := range all.Content {
			d.targets = append(d.targets, t.Value)
		}
	}
	return d, id.Target == "" || d.targets == nil || slices.Contains(d.targets, id.Target)
}

// child is the value of a field that may be shared.
func child(n *yaml.Node, name string) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			v := n.Content[i+1]
			if v.Kind == yaml.AliasNode {
				return v.Alias
			}
			return v
		}
	}
	return nil
}
