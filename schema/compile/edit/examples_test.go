package edit

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/aplomb-dev/aplomb/schema"
)

// paths are the values below a node, as a Set names them.
func paths(n *yaml.Node, at string) (all []string) {
	switch n.Kind {
	case yaml.ScalarNode:
		return []string{at}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			all = append(all, paths(n.Content[i+1], at+"["+strconv.Quote(n.Content[i].Value)+"]")...)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			all = append(all, paths(c, at+"["+strconv.Itoa(i)+"]")...)
		}
	}
	return all
}

// wanders are the values of a declaration, each set to another one and back
// again: the file is then what it was, to the byte.
func wanders(t *testing.T, f File, id schema.ID, spec *yaml.Node) (n int) {
	t.Helper()
	for _, p := range paths(spec, "") {
		first, rest, _ := strings.Cut(p[1:], "]")
		p = first + rest // a path begins with a name
		one, err := Apply([]File{f}, id, []Set{{p, "another: 1.10 # 'it\""}})
		if err != nil {
			if !strings.Contains(err.Error(), "several lines") {
				t.Errorf("%s: %s %s: %v", f.Path, id, p, err)
			}
			continue
		}
		if bytes.Count(one.File.Data, []byte("\n")) != bytes.Count(f.Data, []byte("\n")) || bytes.Equal(one.File.Data, f.Data) {
			t.Errorf("%s: %s %s made\n%s", f.Path, id, p, one.File.Data)
		}
		if n++; one.Changes[0].Before == "" {
			continue
		}
		back, err := Apply([]File{one.File}, id, []Set{{p, strconv.Quote(one.Changes[0].Before)}})
		if err != nil || back.Changes[0].After != one.Changes[0].Before {
			t.Errorf("%s: %s %s: back again: %v", f.Path, id, p, err)
			continue
		}
		// What had no quotes may have some now: without any it is the same.
		bare := strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace
		if got, want := bare(string(back.File.Data)), bare(string(f.Data)); got != want {
			t.Errorf("%s: %s %s: back again it is\n%s", f.Path, id, p, back.File.Data)
		}
	}
	return n
}

// TestExamples: every value of the examples can be set, alone, whatever the ends
// of lines.
func TestExamples(t *testing.T) {
	examples, n := os.DirFS("../../../examples"), 0
	err := fs.WalkDir(examples, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".yaml" {
			return err
		}
		data, err := fs.ReadFile(examples, name)
		if err != nil {
			return err
		}
		docs, err := parse(data)
		if err != nil {
			return err
		}
		for _, doc := range docs {
			kind, meta, spec := child(doc.Content[0], "kind"), child(doc.Content[0], "metadata"), child(doc.Content[0], "spec")
			if kind == nil || meta == nil || spec == nil || child(meta, "name") == nil {
				continue
			}
			id := schema.ID{Kind: kind.Value, Name: child(meta, "name").Value}
			n += wanders(t, File{name, data}, id, spec)
			n += wanders(t, File{name, bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))}, id, spec)
		}
		return nil
	})
	if err != nil || n < 100 {
		t.Errorf("%d values were set: %v", n, err)
	}
}
