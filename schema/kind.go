package schema

import (
	"sort"
	"strings"
	"time"
)

// The layers of the cloud operating model, in the order in which screens show
// them.
const (
	Provisioning = "provisioning"
	Security     = "secret"
	Mesh         = "mesh"
	Scheduler    = "scheduler"
)

// Layers is the order of layers on screens.
var Layers = []string{Provisioning, Security, Mesh, Scheduler}

// Kind is what a program needs to know of a kind without evaluating CUE; it is
// generated from the kind's .cue file.
type Kind struct {
	Name     string        `json:"name"`           // "local.file"
	Layer    string        `json:"layer"`          // one of Layers
	Doc      string        `json:"doc"`            // the comment of the kind's definition
	Data     bool          `json:"data,omitempty"` // holds data that deleting destroys
	Deadline time.Duration `json:"deadline"`       // from applied to healthy, nanoseconds; then it is degraded
	Fields   []Field       `json:"fields"`         // of the spec, in the file's order, nested ones after their parent
	Outputs  []Field       `json:"outputs"`        // Path is "/NAME"

	// Where a declaration itself names outputs of its resource: each key of the
	// field of the spec at OutputsIn is one, with `type` and `sensitive` below
	// it; each key of the one at SecretsIn is a secret one, a string.
	OutputsIn Path `json:"outputsIn,omitempty"`
	SecretsIn Path `json:"secretsIn,omitempty"`
}

// Field is one field of a kind's spec, or one output.
type Field struct {
	Path      Path   `json:"path"` // "/env/*" is any key of env, "/checks/*/http" a field of any element
	Type      string `json:"type"` // for people: "int", "string", "[...string]", "\"a\" | \"b\""
	Doc       string `json:"doc,omitempty"`
	Default   string `json:"default,omitempty"` // as JSON
	Required  bool   `json:"required,omitempty"`
	Secret    bool   `json:"secret,omitempty"`    // a secret may flow into it; of an output: it is one
	Immutable bool   `json:"immutable,omitempty"` // changing it makes the resource anew
	Data      bool   `json:"data,omitempty"`      // changing it destroys data
	File      bool   `json:"file,omitempty"`      // names a file beside the declaration
	Folder    bool   `json:"folder,omitempty"`    // names a folder beside the declaration
}

// anyType is the type of a field that takes any value.
const anyType = "any"

// Field finds the field at a concrete path of a spec; a field below one that
// is marked secret, or takes any value, is found as that one.
func (k *Kind) Field(p Path) (Field, bool) {
	steps := p.Steps()
	for n := len(steps); n > 0; n-- {
		for _, f := range k.Fields {
			if matches(f.Path.Steps(), steps[:n]) && (n == len(steps) || f.Secret || f.Type == anyType) {
				return f, true
			}
		}
	}
	return Field{}, false
}

// Output finds an output by name, one that a declaration names itself apart.
func (k *Kind) Output(name string) (Field, bool) {
	for _, f := range k.Outputs {
		if f.Path == Path("").Child(name) {
			return f, true
		}
	}
	return Field{}, false
}

// Declares says whether declarations of the kind name outputs themselves.
func (k *Kind) Declares() bool { return k.OutputsIn != "" || k.SecretsIn != "" }

func matches(pattern, steps []string) bool {
	if len(pattern) != len(steps) {
		return false
	}
	for i, s := range pattern {
		if s != "*" && s != steps[i] {
			return false
		}
	}
	return true
}

// mostSuggested is the length in bytes of the longest name that a suggestion is
// looked for.
const mostSuggested = 64

// Closest is the candidate that was probably meant by got, or "": at most two
// edits away, or a third of its length, and never with nothing of it left.
func Closest(got string, candidates []string) string {
	if len(got) > mostSuggested {
		return ""
	}
	best, at := "", min(max(2, len(got)/3), len(got)-1)+1
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	for _, c := range sorted {
		if d := distance(strings.ToLower(got), strings.ToLower(c)); d < at {
			best, at = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbours that make b of a.
func distance(a, b string) int {
	if len(b) > mostSuggested {
		return mostSuggested
	}
	var prev2 []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur := make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev = prev, cur
	}
	return prev[len(b)]
}
