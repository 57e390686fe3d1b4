package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

const generated = "<!-- Generated from the schemas by go generate in schema/. Do not edit. -->\n\n"

// index is the list of all kinds, layer by layer.
func index(kinds []schema.Kind) string {
	var b strings.Builder
	b.WriteString(generated + "# Kinds\n\nWhat can be declared, layer by layer.\n")
	for _, layer := range schema.Layers {
		head := "\n## " + layer + "\n\n"
		for _, k := range kinds {
			if k.Layer == layer {
				b.WriteString(head + fmt.Sprintf("- [%s](%s.md): %s\n", k.Name, k.Name, firstSentence(k.Doc)))
				head = ""
			}
		}
	}
	return b.String()
}

func page(k schema.Kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s\n\n%s\n\n", generated, k.Name, k.Doc)
	fmt.Fprintf(&b, "- Layer: %s\n- Degraded when it is not healthy %s after it was applied\n", k.Layer, span(k.Deadline))
	if k.Data {
		b.WriteString("- Holds data: deleting it and making it anew want a person's approval\n")
	}
	b.WriteString("\n## Fields\n\n")
	for _, f := range k.Fields {
		if !strings.HasSuffix(string(f.Path), "/*") {
			b.WriteString(field(f))
		}
	}
	b.WriteString("\n## Outputs\n\n")
	for _, o := range k.Outputs {
		fmt.Fprintf(&b, "- `@{%s/NAME%s}`, %s%s: %s\n", k.Name, strings.ReplaceAll(string(o.Path), "/", "."), code(o.Type), marks(o), o.Doc)
	}
	if k.OutputsIn != "" {
		fmt.Fprintf(&b, "- `@{%s/NAME.KEY}`: each output that `spec.%s` declares\n", k.Name, k.OutputsIn)
	}
	if k.SecretsIn != "" {
		fmt.Fprintf(&b, "- `@{%s/NAME.KEY}`, `string`, secret: each key of `spec.%s`\n", k.Name, k.SecretsIn)
	}
	return b.String()
}

func field(f schema.Field) string {
	steps := f.Path.Steps()
	name := strings.ReplaceAll(strings.Join(steps, "."), ".*", "[]")
	line := fmt.Sprintf("%s- `spec.%s`, %s", strings.Repeat("  ", strings.Count(name, ".")), name, code(f.Type))
	if f.Required {
		line += ", required"
	}
	if f.Default != "" {
		line += ", default " + code(f.Default)
	}
	return line + marks(f) + ": " + f.Doc + "\n"
}

func marks(f schema.Field) string {
	s := ""
	for _, m := range []struct {
		is   bool
		says string
	}{
		{f.Secret, ", secret"},
		{f.Immutable, ", changing it makes the resource anew"},
		{f.Data, ", changing it destroys data"},
		{f.File, ", a file beside the declaration"},
		{f.Folder, ", a folder beside the declaration"},
	} {
		if m.is {
			s += m.says
		}
	}
	return s
}

func code(s string) string { return "`" + s + "`" }

func span(d time.Duration) string {
	s := d.String() // "30s", "2m0s", "1h0m0s"
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func firstSentence(s string) string {
	head, _, found := strings.Cut(s, ". ")
	if found {
		return head + "."
	}
	return s
}
