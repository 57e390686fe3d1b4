package graph

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// declared is an output that a declaration names itself.
type declared struct {
	Type   string `json:"type"` // "string", "number", "bool", "list", "map" or "any"
	Secret bool   `json:"sensitive"`
}

// output checks a reference to an output that only the declaration which it
// refers to tells of: that it is there, and that what it is fits into the
// field. Outputs that every resource of a kind has were checked at compile time.
func (b *builder) output(n *Node, f *Field, ref schema.Ref, to *Node) {
	k, ok := schema.KindOf(to.ID.Kind)
	if !ok || !k.Declares() || to.Res.Spec == nil {
		return
	}
	if _, fixed := k.Output(ref.Output); fixed {
		return
	}
	at := "spec" + dotted(f.Path)
	outs, err := outputsOf(k, to.Res.Spec)
	if err != nil {
		return // the driver judges the declaration itself
	}
	out, ok := outs[ref.Output]
	if !ok {
		b.find(f.Pos, n.ID, outputHint(k, to, ref.Output, outs), "%s: @{%s}: %s declares no output %s", at, ref, to.ID.Short(), ref.Output)
		return
	}
	scalar := out.Type == "string" || out.Type == "number" || out.Type == "bool"
	_, single := f.Parts.Single()
	switch {
	case out.Secret && !f.Secret:
		b.find(f.Pos, n.ID, "a secret flows only into a field that takes secrets", "%s: @{%s} is a secret, and this field takes none", at, ref)
	case ref.Path != "" && scalar:
		b.find(f.Pos, n.ID, "", "%s: @{%s}: the output %s is a %s and holds nothing below it", at, ref, ref.Output, out.Type)
	case ref.Path != "" || out.Type == "any":
	case !single && !scalar:
		b.find(f.Pos, n.ID, "", "%s: @{%s}: inside a longer string only a scalar can stand", at, ref)
	case single && f.Takes != nil && !slices.Contains(f.Takes, out.Type):
		b.find(f.Pos, n.ID, "", "%s: @{%s} is a %s, and this field takes %s", at, ref, out.Type, strings.Join(f.Takes, " or "))
	}
}

// outputsOf are the outputs that a spec names.
func outputsOf(k *schema.Kind, spec json.RawMessage) (map[string]declared, error) {
	all := map[string]declared{}
	if k.OutputsIn != "" {
		raw, err := below(spec, k.OutputsIn)
		if err != nil {
			return nil, err
		}
		for name, v := range raw {
			d := declared{Type: "any"}
			if err := json.Unmarshal(v, &d); err != nil {
				return nil, err
			}
			all[name] = d
		}
	}
	if k.SecretsIn != "" {
		raw, err := below(spec, k.SecretsIn)
		if err != nil {
			return nil, err
		}
		for name := range raw {
			all[name] = declared{Type: "string", Secret: true}
		}
	}
	return all, nil
}

// below is the mapping at a path of a spec; one that is not there is empty.
func below(spec json.RawMessage, path schema.Path) (map[string]json.RawMessage, error) {
	for _, step := range path.Steps() {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(spec, &m); err != nil {
			return nil, err
		}
		if spec = m[step]; spec == nil {
			return nil, nil
		}
	}
	var m map[string]json.RawMessage
	err := json.Unmarshal(spec, &m)
	return m, err
}

func outputHint(k *schema.Kind, to *Node, got string, outs map[string]declared) string {
	names := slices.Sorted(maps.Keys(outs))
	for _, o := range k.Outputs {
		names = append(names, o.Path.Steps()...)
	}
	if near := schema.Closest(got, names); near != "" {
		return "did you mean " + near + "?"
	}
	in := k.OutputsIn
	if in == "" {
		in = k.SecretsIn
	}
	return fmt.Sprintf("%s has %s; spec.%s of it declares more", to.ID.Short(), strings.Join(names, ", "), in)
}
