package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Resource is one declaration, checked against the schema of its kind, with
// the schema's defaults filled in. It is immutable once compiled.
type Resource struct {
	ID      ID                `json:"id"`                // Target is empty until the graph has resolved it
	Targets []string          `json:"targets,omitempty"` // as declared: none, or one resource for each
	Spec    json.RawMessage   `json:"spec"`              // canonical JSON; references still as text
	Refs    []FieldRef        `json:"refs,omitempty"`    // every string of Spec that holds @{, in path order
	Labels  map[string]string `json:"labels,omitempty"`
	Needs   []Need            `json:"needs,omitempty"` // metadata.needs only; references are needs too
	Hold    []Action          `json:"hold,omitempty"`  // these actions want a person's approval
	Data    bool              `json:"data,omitempty"`  // it holds data: delete and replace are held of themselves
	Adopt   bool              `json:"adopt,omitempty"`
	Was     string            `json:"was,omitempty"` // an ID that it had, for kinds whose address the engine gives
	Expires time.Time         `json:"expires,omitzero"`
	Files   Tree              `json:"files,omitempty"` // what fields marked as files name
	Pos     Pos               `json:"pos"`
	Lines   Lines             `json:"lines,omitempty"` // where its fields stand

	// Share are the paths whose declarations may refer to it, as texts of Globs;
	// it matters where the operator has rules for paths.
	Share []string `json:"share,omitempty"`

	// Origin is the file among the declarations that declares it, where Pos may
	// point elsewhere: a value of CUE stands where it was written, and may have
	// come from another package. "": Pos.File does.
	Origin string `json:"origin,omitempty"`

	// Use is the use of a template that yielded it; nil: it is declared by
	// itself.
	Use *Use `json:"use,omitempty"`

	// Violations are what policies over resources say of it.
	Violations []Violation `json:"violations,omitempty"`
}

// Use is one use of a template: what the people who wrote it call it.
type Use struct {
	Template string `json:"template"`          // "WebService"
	Version  string `json:"version,omitempty"` // "v2": the one that was applied; "" where the template has none
	Name     string `json:"name"`              // metadata.name of the use
	Pos      Pos    `json:"pos"`               // of the use
}

// String is the use as a need on it is written: TEMPLATE/NAME.
func (u Use) String() string { return u.Template + "/" + u.Name }

// Need is one entry of metadata.needs.
type Need struct {
	ID  ID  `json:"id"` // Target may be left out
	Pos Pos `json:"pos"`
}

// FieldRef is a string of a spec that holds references (or an escaped @{).
type FieldRef struct {
	Path   Path   `json:"path"`             // below the spec
	Text   string `json:"text"`             // as declared; ParseText accepts it
	Secret bool   `json:"secret,omitempty"` // the field may take a secret
	Pos    Pos    `json:"pos"`

	// Takes are the types that the field takes, of "string", "number", "bool",
	// "list" and "map", where Text is nothing but a reference to an output that
	// another declaration names: whether it fits cannot be said before that one
	// is known. nil otherwise.
	Takes []string `json:"takes,omitempty"`
}

// File is one file that a resource needs: a template, a job file, a module.
type File struct {
	Path string `json:"path"` // slash-separated, relative to the snapshot's root
	Exec bool   `json:"exec,omitempty"`
	Data []byte `json:"data"`
}

// Tree is the files of a resource, ordered by path.
type Tree []File

// Hash is the tree's content as SHA-256 in hex; "" for an empty tree.
func (t Tree) Hash() string {
	if len(t) == 0 {
		return ""
	}
	h := sha256.New()
	for _, f := range t {
		_, _ = fmt.Fprintf(h, "%d %s %t %d\n", len(f.Path), f.Path, f.Exec, len(f.Data))
		_, _ = h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Get is the file at path.
func (t Tree) Get(path string) (File, bool) {
	i, ok := slices.BinarySearchFunc(t, path, func(f File, p string) int { return strings.Compare(f.Path, p) })
	if !ok {
		return File{}, false
	}
	return t[i], true
}
