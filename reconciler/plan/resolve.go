package plan

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
)

// Outputs are what a need will answer, or nil where it cannot be asked yet.
type Outputs func(need *graph.Node) map[string]drivers.Output

// Unknown is the token of an input that is not known before a need is applied.
const Unknown = "?"

// Inputs are the change tokens of the outputs that a resource was resolved
// with: the value of a plain output, the fingerprint of a secret one, or
// Unknown. References in them have their target.
type Inputs map[schema.Ref]string

// Resolve fills the references of n in as far as its needs' outputs are known.
// What stays unknown keeps the reference's text; a secret enters as its token.
// An error means that an output lacks what is referred to.
func Resolve(n *graph.Node, outputs Outputs) (*drivers.Desired, Inputs, error) {
	want := &drivers.Desired{Spec: n.Res.Spec, Files: n.Res.Files}
	if len(n.Fields) == 0 {
		return want, nil, nil
	}
	spec, err := decode(n.Res.Spec)
	if err != nil {
		return nil, nil, fmt.Errorf("spec of %s: %w", n.ID, err)
	}
	inputs := Inputs{}
	for i := range n.Fields {
		f := &n.Fields[i]
		v, err := field(f, outputs, want, inputs)
		if err != nil {
			return nil, nil, fmt.Errorf("spec.%s: %w", f.Path, err)
		}
		if spec, err = put(spec, f.Path.Steps(), v); err != nil {
			return nil, nil, fmt.Errorf("spec.%s: %w", f.Path, err)
		}
	}
	want.Spec, err = encode(spec)
	return want, inputs, err
}

// field is the value of one string, and notes in want and inputs what it is
// made of.
func field(f *graph.Field, outputs Outputs, want *drivers.Desired, inputs Inputs) (any, error) {
	values := make([]drivers.Output, len(f.Parts))
	known, secret := true, false
	for i, part := range f.Parts {
		if part.Ref == nil {
			continue
		}
		out, ok, err := lookup(*part.Ref, f.To[*part.Ref], outputs)
		if err != nil {
			return nil, err
		}
		if ok && !out.Secret && schema.ForgesToken(string(out.Value)) {
			return nil, fmt.Errorf("@{%s}: the output holds [secret: which stands for a secret's value", part.Ref)
		}
		inputs[whole(*part.Ref, f.To[*part.Ref])] = token(out, ok)
		values[i], known, secret = out, known && ok, secret || ok && out.Secret
	}
	switch {
	case !known:
		if want.Unknown == nil {
			want.Unknown = map[schema.Path]string{}
		}
		want.Unknown[f.Path] = f.Text
		return f.Text, nil
	case secret:
		if want.Secrets == nil {
			want.Secrets = map[schema.Path]string{}
		}
		want.Secrets[f.Path] = f.Text
	}
	if _, single := f.Parts.Single(); single && !secret {
		return decode(values[0].Value)
	}
	return join(f.Parts, values)
}

func join(parts schema.Text, values []drivers.Output) (string, error) {
	var b strings.Builder
	for i, part := range parts {
		switch {
		case part.Ref == nil:
			b.WriteString(part.Lit)
		case values[i].Secret:
			b.WriteString(schema.Token(values[i].Fingerprint))
		default:
			s, err := scalar(values[i].Value)
			if err != nil {
				return "", fmt.Errorf("@{%s}: %w", part.Ref, err)
			}
			b.WriteString(s)
		}
	}
	return b.String(), nil
}

// scalar is an output's value inside a longer string.
func scalar(raw json.RawMessage) (string, error) {
	v, err := decode(raw)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	default:
		return "", fmt.Errorf("only a string, a number or a boolean fits inside a longer string")
	}
}

// lookup answers the output that ref means; ok is false where it is unknown.
func lookup(ref schema.Ref, to *graph.Node, outputs Outputs) (out drivers.Output, ok bool, err error) {
	out, ok = outputs(to)[ref.Output]
	if !ok || ref.Path == "" {
		return out, ok, nil
	}
	if out.Secret {
		return out, false, fmt.Errorf("@{%s}: a secret has no parts", ref)
	}
	v, err := decode(out.Value)
	if err != nil {
		return out, false, fmt.Errorf("@{%s}: %w", ref, err)
	}
	for _, step := range ref.Path.Steps() {
		if v, ok = child(v, step); !ok {
			return out, false, fmt.Errorf("@{%s}: the output has no %q", ref, step)
		}
	}
	out.Value, err = encode(v)
	return out, true, err
}

func child(v any, step string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		c, ok := v[step]
		return c, ok
	case []any:
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	default:
		return nil, false
	}
}

func put(v any, steps []string, leaf any) (any, error) {
	if len(steps) == 0 {
		return leaf, nil
	}
	old, ok := child(v, steps[0])
	if !ok {
		return nil, fmt.Errorf("the spec has no %q", steps[0])
	}
	c, err := put(old, steps[1:], leaf)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case map[string]any:
		v[steps[0]] = c
	case []any:
		i, _ := strconv.Atoi(steps[0]) // child has found it
		v[i] = c
	}
	return v, nil
}

// whole is ref with its target.
func whole(ref schema.Ref, to *graph.Node) schema.Ref {
	ref.ID = to.ID
	return ref
}

func token(out drivers.Output, known bool) string {
	switch {
	case !known:
		return Unknown
	case out.Secret:
		return "secret:" + out.Fingerprint
	default:
		return string(out.Value)
	}
}

// Tokens are the inputs as they would be resolved now, without resolving the
// spec: cheap enough for every turn.
func Tokens(n *graph.Node, outputs Outputs) Inputs {
	if len(n.Fields) == 0 {
		return nil
	}
	in := make(Inputs, len(n.Fields))
	for i := range n.Fields {
		for ref, to := range n.Fields[i].To {
			out, ok, err := lookup(ref, to, outputs)
			in[whole(ref, to)] = token(out, ok && err == nil)
		}
	}
	return in
}

// Plain is a plain output's text inside a longer string; "" for what does not
// fit there, which Resolve has refused before.
func Plain(ref schema.Ref, to *graph.Node, outputs Outputs) string {
	out, ok, err := lookup(ref, to, outputs)
	if err != nil || !ok {
		return ""
	}
	s, err := scalar(out.Value)
	if err != nil {
		return ""
	}
	return s
}
