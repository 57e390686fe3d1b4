package compile

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"

	"github.com/aplomb-dev/aplomb/schema"
)

// JSONSchemaID names the JSON Schema of declarations.
const JSONSchemaID = "https://aplomb.dev/schema.json"

// JSONSchema is one JSON Schema (draft 2020-12) of a declaration of any kind,
// and of a use of any of templates, for editors of YAML: it is made from the
// source of the CUE schemas, and evaluates nothing. What it accepts may still have findings: it knows nothing
// of outputs, of files and of other declarations.
func JSONSchema(templates []Template) ([]byte, error) {
	w := &schemaWriter{defs: node{}}
	kinds, err := w.packages(schema.FS())
	if err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(w.document(append(kinds, w.uses(templates)...), templates), "", "  ")
	return append(out, '\n'), err
}

// node is a part of a JSON Schema.
type node = map[string]any

// schemaWriter makes a JSON Schema of the syntax of CUE schemas.
type schemaWriter struct {
	pkg  string // that is being read: "local"
	defs node   // below $defs
}

// referText is what a field with a reference holds, whatever its type.
const referText = "#/$defs/Reference"

// packages reads every package and answers the kinds, in the order of
// schema.Kinds.
func (w *schemaWriter) packages(module fs.FS) ([]node, error) {
	files, err := fs.Glob(module, "*/*.cue")
	if err != nil {
		return nil, err
	}
	conditions := map[string]node{}
	for _, name := range append([]string{"schema.cue"}, files...) {
		w.pkg = path.Dir(name)
		if !ofKinds("./" + w.pkg) {
			continue
		}
		data, err := fs.ReadFile(module, name)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(name, data, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range f.Decls {
			if field, ok := decl.(*ast.Field); ok {
				if err := w.definition(field, conditions); err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	}
	var all []node
	for _, k := range schema.Kinds() {
		if conditions[k.Name] == nil {
			return nil, fmt.Errorf("the schema of %s is not found", k.Name)
		}
		all = append(all, conditions[k.Name])
	}
	return all, nil
}

// definition adds a definition of a package: a kind, or a type of others.
func (w *schemaWriter) definition(f *ast.Field, kinds map[string]node) error {
	name, _, err := ast.LabelName(f.Label)
	if err != nil {
		return err
	}
	lit, isStruct := f.Value.(*ast.StructLit)
	kind := ""
	if isStruct {
		kind = declared(lit)["kind"]
	}
	if kind == "" {
		def := w.expr(f.Value)
		describe(def, docOf(f))
		w.defs[w.defName(name)] = def
		return nil
	}
	for _, e := range lit.Elts {
		field, ok := e.(*ast.Field)
		if !ok {
			continue
		}
		label, _, err := ast.LabelName(field.Label)
		if err != nil {
			return err
		}
		if label == "spec" {
			spec := w.expr(field.Value)
			describe(spec, docOf(f))
			w.defs[kind] = spec
			kinds[kind] = condition(kind, spec)
		}
	}
	return nil
}

// condition demands the spec of a kind of what says that it is of that kind.
func condition(kind string, spec node) node {
	then := node{"properties": node{"spec": node{"$ref": "#/$defs/" + kind}}}
	if needed(spec) {
		then["required"] = []string{"spec"}
	}
	return node{"if": node{"properties": node{"kind": node{"const": kind}}, "required": []string{"kind"}}, "then": then}
}

// needed says whether an empty spec would not do.
func needed(spec node) bool {
	_, required := spec["required"]
	_, one := spec["oneOf"]
	return required || one
}

// document is the whole: the envelope, and the spec by kind.
func (w *schemaWriter) document(kinds []node, templates []Template) node {
	var words []node
	for _, k := range schema.Kinds() {
		words = append(words, node{"const": k.Name, "description": k.Doc})
	}
	for _, t := range templates {
		words = append(words, node{"const": t.Name, "description": t.Doc})
	}
	words = append(words, node{"pattern": `^[A-Za-z][A-Za-z0-9]*(@v[0-9]+)?$`, "description": "A template that the operator offers."})
	w.defs["Reference"] = node{"type": "string", "pattern": "@\\{", "description": "A reference to another resource's output, or a text that holds some."}
	return node{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": JSONSchemaID,
		"title": "A declaration of aplomb", "type": "object", "additionalProperties": false,
		"required": []string{"apiVersion", "kind", "metadata"},
		"properties": node{
			"apiVersion": node{"const": schema.APIVersion, "description": "The version of the format."},
			"kind":       node{"type": "string", "description": "What is declared.", "anyOf": words},
			"metadata":   node{"$ref": "#/$defs/Metadata"},
			"spec":       node{"type": []string{"object", "null"}, "description": "What it is, in the words of its kind."},
		},
		"allOf": kinds, "$defs": w.defs,
	}
}

// defName is the name below $defs of a definition of the package that is read.
func (w *schemaWriter) defName(name string) string {
	name = strings.TrimPrefix(name, "#")
	if w.pkg == "." {
		return name
	}
	return w.pkg + "." + name
}

func describe(n node, doc string) {
	if doc != "" {
		n["description"] = doc
	}
}
