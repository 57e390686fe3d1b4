package consul

import (
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// words turns a value of the API's types into the words of a spec: the same
// names, without what nobody declares (excluded), and without what is zero,
// since Consul fills in empty structures by itself and takes a field that is
// left out as its zero value. What stands behind a pointer to a scalar, in a
// map or in a list is kept, zero or not: there it says something.
func words(v any) map[string]any {
	tree, _ := wordsOf(reflect.ValueOf(v)).(map[string]any)
	if tree == nil {
		tree = map[string]any{}
	}
	return tree
}

var (
	durationType   = reflect.TypeFor[time.Duration]()
	definitionType = reflect.TypeFor[api.HealthCheckDefinition]()
)

func wordsOf(v reflect.Value) any {
	if v.Type() == durationType {
		return time.Duration(v.Int()).String()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return wordsOf(v.Elem())
	case reflect.Struct:
		return structWords(v)
	case reflect.Map:
		tree := map[string]any{}
		for _, k := range v.MapKeys() {
			tree[k.String()] = wordsOf(v.MapIndex(k))
		}
		return tree
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = wordsOf(v.Index(i))
		}
		return list
	default:
		return v.Interface()
	}
}

func structWords(v reflect.Value) map[string]any {
	tree := map[string]any{}
	if v.Type() == definitionType {
		d, _ := v.Interface().(api.HealthCheckDefinition)
		// these have two fields each, and the names of the older ones
		for name, span := range map[string]time.Duration{"Interval": d.IntervalDuration, "Timeout": d.TimeoutDuration, "DeregisterCriticalServiceAfter": d.DeregisterCriticalServiceAfterDuration} {
			if span != 0 {
				tree[name] = span.String()
			}
		}
	}
	for _, f := range spoken(v.Type()) {
		at := v.Field(f.index)
		if !says(at) {
			continue
		}
		word := wordsOf(at)
		if m, ok := word.(map[string]any); ok && len(m) == 0 {
			continue
		}
		tree[f.name] = word
	}
	return tree
}

// spokenField is a field that is declared, and its name in JSON.
type spokenField struct {
	index int
	name  string
}

// spokenFields are those of each type; they never change.
var spokenFields sync.Map // reflect.Type -> []spokenField

func spoken(of reflect.Type) []spokenField {
	if known, ok := spokenFields.Load(of); ok {
		return known.([]spokenField)
	}
	var all []spokenField
	for i := range of.NumField() {
		f := of.Field(i)
		if name := wordFor(f); name != "" && exclusion(of, f.Name) == "" {
			all = append(all, spokenField{i, name})
		}
	}
	spokenFields.Store(of, all)
	return all
}

// wordFor is a field's name in JSON, or "".
func wordFor(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case !f.IsExported() || name == "-":
		return ""
	case name == "":
		return f.Name
	default:
		return name
	}
}

// says is false of what is as good as left out.
func says(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() > 0
	}
	return !v.IsZero()
}

// plant puts the texts of unknown fields where they belong in a tree.
func plant(tree map[string]any, unknown map[schema.Path]string) {
	for p, text := range unknown {
		steps := p.Steps()
		if len(steps) > 0 {
			tree[steps[0]] = planted(tree[steps[0]], steps[1:], text)
		}
	}
}

func planted(at any, steps []string, text string) any {
	if len(steps) == 0 {
		return text
	}
	if list, ok := at.([]any); ok {
		for i := range list {
			if schema.Path("").Index(i) == schema.Path("/"+steps[0]) {
				list[i] = planted(list[i], steps[1:], text)
			}
		}
		return list
	}
	m, ok := at.(map[string]any)
	if !ok || m == nil {
		m = map[string]any{}
	}
	m[steps[0]] = planted(m[steps[0]], steps[1:], text)
	return m
}

// canonical is a tree of words as a spec.
func canonical(handle string, tree map[string]any) ([]byte, error) {
	text, err := driverkit.Text(tree)
	if err != nil {
		return nil, driverkit.Refuse("read", handle, err, "")
	}
	return text, nil
}
