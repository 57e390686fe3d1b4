package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"gopkg.in/yaml.v3"
)

// parse reads every document of a file.
func parse(data []byte) ([]*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var docs []*yaml.Node
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, &n)
	}
}

// verify says whether a file became what was wanted: it parses, and nothing but
// the wanted value is another one.
func (e *editor) verify(docs []*yaml.Node, index int, out []byte) error {
	odd := refuse(docs[index].Line, byHand, "%s: setting it would change more than it", words(e.from))
	after, err := parse(out)
	if err != nil || len(after) != len(docs) || e.in.json && !json.Valid(out) {
		return odd
	}
	for i := range docs {
		var path []step
		if i == index {
			path = e.from
		}
		if !e.same(docs[i], after[i], path, i == index) {
			return odd
		}
	}
	return nil
}

// same compares two nodes. Where on is set, path leads to what is wanted.
func (e *editor) same(a, b *yaml.Node, path []step, on bool) bool {
	if on && a.Kind != yaml.DocumentNode {
		if len(path) == 0 {
			return wanted(e.set, a).is(b) && a.Kind == yaml.ScalarNode
		}
		if a.Kind == yaml.ScalarNode && a.ShortTag() == "!!null" {
			return e.only(b, path)
		}
	}
	if a.Kind != b.Kind || a.Value != b.Value || a.Anchor != b.Anchor || a.Style != b.Style || a.Kind == yaml.ScalarNode && a.ShortTag() != b.ShortTag() {
		return false
	}
	extra := 0
	if on && a.Kind == yaml.MappingNode && !has(a, path[0].key) {
		extra = 2
	}
	if len(a.Content)+extra != len(b.Content) {
		return false
	}
	for i := range a.Content {
		rest, here := path, on
		if on && a.Kind != yaml.DocumentNode {
			rest = path[1:]
			here = a.Kind == yaml.MappingNode && i%2 == 1 && a.Content[i-1].Value == path[0].key ||
				a.Kind == yaml.SequenceNode && i == path[0].index
		}
		if !e.same(a.Content[i], b.Content[i], rest, here) {
			return false
		}
	}
	if extra == 0 {
		return true
	}
	k, v := b.Content[len(b.Content)-2], b.Content[len(b.Content)-1]
	return k.Kind == yaml.ScalarNode && k.ShortTag() == "!!str" && k.Value == path[0].key && e.only(v, path[1:])
}

// only says whether n is nothing but the wanted value below path.
func (e *editor) only(n *yaml.Node, path []step) bool {
	for _, s := range path {
		if n.Kind != yaml.MappingNode || len(n.Content) != 2 || n.Content[0].Value != s.key || n.Content[0].ShortTag() != "!!str" {
			return false
		}
		n = n.Content[1]
	}
	return wanted(e.set, nil).is(n)
}

func has(n *yaml.Node, name string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == name {
			return true
		}
	}
	return false
}
