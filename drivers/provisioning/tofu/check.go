package tofu

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// finding is one thing that is wrong with a module, or with what it is given.
type finding struct {
	file string // "" where it is the declaration
	line int
	text string
}

func (f finding) String() string {
	if f.file == "" {
		return f.text
	}
	return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text)
}

// Check reads the module offline: its syntax, its variables against what they
// are given, its outputs against those that are declared. What providers say
// about it only a plan can tell.
func (d *Driver) Check(kind, name string, want drivers.Desired) error {
	if kind != Kind {
		return unserved(kind)
	}
	handle := prefix + name
	sp, err := specOf(handle, &want)
	if err != nil {
		return err
	}
	m := readModule(sp.Module, want.Files)
	all := m.findings
	if len(all) == 0 { // what is given is judged by a module that can be read
		all = append(m.given(sp, want.Unknown), m.told(sp)...)
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b finding) int {
		return cmp.Or(strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line), strings.Compare(a.text, b.text))
	})
	const most = 10
	var texts []string
	for _, f := range all[:min(len(all), most)] {
		texts = append(texts, f.String())
	}
	if more := len(all) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return driverkit.Refuse("read", handle, errors.New(strings.Join(texts, "; ")), "")
}

// given judges what the module's variables are given.
func (m *module) given(sp spec, unknown map[schema.Path]string) []finding {
	var all []finding
	say := func(format string, args ...any) { all = append(all, finding{text: fmt.Sprintf(format, args...)}) }
	for _, name := range slices.Sorted(maps.Keys(m.variables)) {
		v := m.variables[name]
		_, plain := sp.Vars[name]
		_, secret := sp.SecretVars[name]
		plain = plain || unknown[schema.Path("/vars").Child(name)] != "" // Decode leaves it out
		if !plain && !secret && v.required {
			all = append(all, finding{v.file, v.line, fmt.Sprintf("the variable %s is given no value, and has no default", name)})
		}
		if plain && secret {
			say("the variable %s is given in vars and in secretVars", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sp.Vars)) {
		v, ok := m.variables[name]
		if !ok {
			say("vars.%s: the module %s has no variable %s", name, sp.Module, name)
			continue
		}
		if !below(unknown, schema.Path("/vars").Child(name)) {
			if msg := v.refuses(sp.Vars[name]); msg != "" {
				say("vars.%s: %s", name, msg)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sp.SecretVars)) {
		v, ok := m.variables[name]
		switch {
		case !ok:
			say("secretVars.%s: the module %s has no variable %s", name, sp.Module, name)
		case !v.sensitive:
			all = append(all, finding{v.file, v.line, fmt.Sprintf("the variable %s takes a secret and is not marked with sensitive = true", name)})
		case v.typ != cty.String && v.typ != cty.NilType:
			all = append(all, finding{v.file, v.line, fmt.Sprintf("the variable %s takes a secret and is no string", name)})
		}
	}
	return all
}

func below(unknown map[schema.Path]string, at schema.Path) bool {
	for p := range unknown {
		if p.Within(at) {
			return true
		}
	}
	return false
}

// refuses says why a value does not fit the variable's type; "" where it does.
func (v *variable) refuses(value json.RawMessage) string {
	if v.typ == cty.NilType || v.typ == cty.DynamicPseudoType {
		return ""
	}
	var simple ctyjson.SimpleJSONValue
	if err := simple.UnmarshalJSON(value); err != nil {
		return "it cannot be read"
	}
	got := simple.Value
	if v.defaults != nil && !got.IsNull() {
		got = v.defaults.Apply(got)
	}
	if _, err := convert.Convert(got, v.typ); err != nil {
		return fmt.Sprintf("the variable wants another type: %v (%s:%d)", err, v.file, v.line)
	}
	return ""
}

// told judges the outputs that are declared.
func (m *module) told(sp spec) []finding {
	var all []finding
	for _, name := range slices.Sorted(maps.Keys(sp.Outputs)) {
		o, ok := m.outputs[name]
		switch {
		case !ok:
			all = append(all, finding{text: fmt.Sprintf("outputs.%s: the module %s has no output %s", name, sp.Module, name)})
		case o.sensitive && !sp.Outputs[name].Sensitive:
			all = append(all, finding{o.file, o.line, fmt.Sprintf("the output %s is sensitive, and spec.outputs.%s does not say so", name, name)})
		}
	}
	return all
}

// isConfig says whether the tool reads a file as configuration.
func isConfig(name string) bool {
	for _, ext := range []string{".tf", ".tofu", ".tf.json", ".tofu.json"} {
		if strings.HasSuffix(name, ext) {
			return !strings.HasPrefix(path.Base(name), ".") // as the tool does
		}
	}
	return false
}

// isValues says whether the tool reads a file as values of variables by itself.
func isValues(name string) bool {
	return name == "terraform.tfvars" || name == "terraform.tfvars.json" || strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json")
}
