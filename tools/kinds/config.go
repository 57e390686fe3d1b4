package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// aboutConfig is what people should know before they read the fields.
//
//go:embed config.md
var aboutConfig string

// configPage is the page about the daemon's configuration.
func configPage(fields []schema.Field, doc string) string {
	var b strings.Builder
	b.WriteString(generated + "# The configuration\n\n" + doc + "\n\n" + strings.TrimSpace(aboutConfig) + "\n\n## Fields\n\n")
	for _, f := range fields {
		if steps := f.Path.Steps(); steps[len(steps)-1] != "*" {
			b.WriteString(configField(f))
		}
	}
	return b.String()
}

// configField is a field, below those that it stands in. What stands for any
// name is NAME; what stands for any element is [].
func configField(f schema.Field) string {
	steps := slices.Clone(f.Path.Steps())
	depth := 0
	for _, s := range steps[:len(steps)-1] {
		if s != "*" {
			depth++
		}
	}
	name := strings.Join(steps, ".")
	name = strings.Replace(name, "environments.*", "environments.NAME", 1)
	name = strings.Replace(name, "targets.*", "targets.NAME", 1)
	name = strings.ReplaceAll(name, ".*", "[]")
	line := fmt.Sprintf("%s- `%s`, %s", strings.Repeat("  ", depth), name, code(f.Type))
	if f.Required {
		line += ", required"
	}
	if f.Default != "" {
		line += ", default " + code(f.Default)
	}
	return line + ": " + strings.ReplaceAll(f.Doc, "\n\n", " ") + "\n"
}
