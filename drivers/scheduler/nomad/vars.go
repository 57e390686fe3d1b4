package nomad

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// varsOf reads the variables of a spec.
func varsOf(raw json.RawMessage) (map[string]cty.Value, error) {
	tree, err := driverkit.Tree(raw)
	if err != nil {
		return nil, err
	}
	given, _ := tree.(map[string]any)
	vars := map[string]cty.Value{}
	for name, v := range given {
		if !hclsyntax.ValidIdentifier(name) {
			return nil, fmt.Errorf("vars: %q is not a name that a variable can have", clip(name))
		}
		if vars[name], err = ctyOf(v); err != nil {
			return nil, fmt.Errorf("vars: %s: %w", name, err)
		}
	}
	return vars, nil
}

// ctyOf is JSON as a value of HCL.
func ctyOf(v any) (cty.Value, error) {
	switch x := v.(type) {
	case nil:
		return cty.NullVal(cty.DynamicPseudoType), nil
	case string:
		return cty.StringVal(x), nil
	case bool:
		return cty.BoolVal(x), nil
	case json.Number:
		return cty.ParseNumberVal(x.String())
	case []any:
		var all []cty.Value
		for _, e := range x {
			v, err := ctyOf(e)
			if err != nil {
				return v, err
			}
			all = append(all, v)
		}
		return cty.TupleVal(all), nil
	case map[string]any:
		all := map[string]cty.Value{}
		for k, e := range x {
			v, err := ctyOf(e)
			if err != nil {
				return v, err
			}
			all[k] = v
		}
		return cty.ObjectVal(all), nil
	default:
		return cty.NilVal, fmt.Errorf("%T is no value of JSON", v)
	}
}

// varsText is the variables as a file of values that Nomad reads.
func varsText(vars map[string]cty.Value) []byte {
	f := hclwrite.NewEmptyFile()
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		f.Body().SetAttributeValue(name, vars[name])
	}
	return f.Bytes()
}
