package compile

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// uses are the conditions for uses of templates, by the kinds that a use may
// name them by: the newest version by its name alone, each by its pin too. The
// templates are in the order of Compiler.Templates, the newest of a name first.
func (w *schemaWriter) uses(templates []Template) (all []node) {
	named := map[string]bool{}
	for _, t := range templates {
		name := "template." + t.String()
		spec := inputNode(t.Fields, nil)
		describe(spec, t.Doc)
		w.defs[name] = spec
		kinds := []string{t.String()}
		if !named[t.Name] && t.Version != "" {
			kinds = append(kinds, t.Name)
		}
		named[t.Name] = true
		for _, kind := range kinds {
			c := condition(name, spec)
			c["if"] = node{"properties": node{"kind": node{"const": kind}}, "required": []string{"kind"}}
			all = append(all, c)
		}
	}
	return all
}

// inputNode is the schema of the fields below a path of an input, whose shape
// they tell: named ones make a struct, one of any name a list or a map.
func inputNode(fields []schema.Field, at []string) node {
	properties, required := node{}, []string{}
	var any node
	for _, f := range fields {
		steps := f.Path.Steps()
		if len(steps) != len(at)+1 || !startsWith(at, steps) {
			continue
		}
		n := fieldNode(fields, f, steps)
		switch name := steps[len(at)]; {
		case name == "*":
			any = n
		default:
			properties[name] = n
			if f.Required {
				required = append(required, name)
			}
		}
	}
	out := node{"type": "object", "additionalProperties": false, "properties": properties}
	if any != nil {
		out["additionalProperties"] = any
	}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// startsWith says whether a path begins with another.
func startsWith(at, steps []string) bool {
	for i, s := range at {
		if steps[i] != s {
			return false
		}
	}
	return true
}

// fieldNode is the schema of one field of an input.
func fieldNode(fields []schema.Field, f schema.Field, steps []string) node {
	var n node
	below := inputNode(fields, steps)
	elem, isMap := below["additionalProperties"].(node)
	switch {
	case strings.HasPrefix(f.Type, "["):
		n = node{"type": "array"}
		if isMap {
			n["items"] = elem
		}
	case isMap || len(below["properties"].(node)) > 0:
		n = below
	default:
		n = wordNode(f.Type)
	}
	if len(n) > 0 && !f.File && !f.Folder {
		n = node{"anyOf": []node{n, {"$ref": referText}}}
	}
	describe(n, f.Doc)
	return n
}

var (
	atLeastRE = regexp.MustCompile(`>=(-?\d+)`)
	atMostRE  = regexp.MustCompile(`<=(-?\d+)`)
)

// wordNode is what a type's words say, as far as they are understood; nothing
// refuses nothing.
func wordNode(typ string) node {
	parts := strings.Split(typ, " | ")
	var types, values []string
	for _, p := range parts {
		p = strings.TrimPrefix(strings.TrimSpace(p), "*")
		switch word, _, _ := strings.Cut(p, " "); {
		case strings.HasPrefix(p, `"`):
			text, err := strconv.Unquote(p)
			if err != nil {
				return node{}
			}
			values = append(values, text)
		case word == "string", word == "number":
			types = append(types, word)
		case word == "bool":
			types = append(types, "boolean")
		case word == "int":
			types = append(types, "integer")
		default:
			return node{}
		}
	}
	switch {
	case len(values) > 0 && len(types) > 0:
		return node{}
	case len(values) > 0:
		return node{"enum": values}
	}
	n := node{"type": types}
	if len(types) == 1 && types[0] == "integer" {
		limit(n, "minimum", atLeastRE.FindStringSubmatch(typ))
		limit(n, "maximum", atMostRE.FindStringSubmatch(typ))
	}
	return n
}

func limit(n node, name string, found []string) {
	if found == nil {
		return
	}
	if v, err := strconv.ParseInt(found[1], 10, 64); err == nil {
		n[name] = v
	}
}
