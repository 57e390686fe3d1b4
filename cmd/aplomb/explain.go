package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/schema"
)

func (a *app) explain() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "explain [KIND[.field] | TEMPLATE[@VERSION][.field]]",
		Short: "The schema of a kind or a template as help; without one the list of them",
		Args:  args(0, 1, "at most one KIND, TEMPLATE, or field of one"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listKinds(cmd.Context(), dir)
			}
			return a.runExplain(cmd.Context(), args[0], dir)
		},
	}
	c.Flags().StringVar(&dir, "templates", "", "folder of templates, instead of those that are shipped")
	return c
}

// listKinds lists kinds and templates.
func (a *app) listKinds(ctx context.Context, dir string) error {
	all, findings, err := templates(ctx, dir)
	if err != nil {
		return err
	}
	if a.format == formatJSON {
		list := make([]any, 0, len(schema.Kinds())+len(all))
		for _, k := range schema.Kinds() {
			list = append(list, k)
		}
		for _, t := range all {
			list = append(list, t)
		}
		_, err := a.json(list)
		return err
	}
	a.out.Kinds(schema.Kinds())
	shown := make([]terminal.Template, 0, len(all))
	for _, t := range all {
		shown = append(shown, explained(t, nil))
	}
	a.out.Templates(shown)
	return a.faulty(findings)
}

// faulty says what is wrong with templates.
func (a *app) faulty(findings []schema.Diagnostic) error {
	if len(findings) == 0 {
		return nil
	}
	a.out.Lint(findings)
	return told{errFindings}
}

func (a *app) runExplain(ctx context.Context, what, dir string) error {
	k, rest, err := findKind(what)
	if err != nil && !ofEngine(what) {
		all, findings, terr := templates(ctx, dir)
		if terr != nil {
			return terr
		}
		if found, err := a.explainTemplate(what, all); found {
			return err
		}
		if err := a.faulty(findings); err != nil {
			return err
		}
		head, _, _ := strings.Cut(what, ".")
		names := make([]string, 0, len(all))
		for _, t := range all {
			names = append(names, t.Name)
		}
		if meant := schema.Closest(head, names); meant != "" {
			return hinted{fmt.Errorf("there is no kind or template %q", what), fmt.Sprintf("did you mean %s?", meant)}
		}
	}
	if err != nil {
		return err
	}
	if rest == "" {
		if done, err := a.json(k); done {
			return err
		}
		a.out.Kind(*k)
		return nil
	}
	f, err := findField(k, strings.TrimPrefix(rest, "spec."))
	if err != nil {
		return err
	}
	if done, err := a.json(f); done {
		return err
	}
	a.out.Field(*k, f)
	return nil
}

// ofEngine says whether what begins as kinds of an engine do.
func ofEngine(what string) bool {
	engine, _, dotted := strings.Cut(what, ".")
	return dotted && slices.ContainsFunc(schema.Kinds(), func(k schema.Kind) bool { return strings.HasPrefix(k.Name, engine+".") })
}

// findKind finds the kind at the start of KIND.field.
func findKind(what string) (k *schema.Kind, rest string, err error) {
	engine, rest, _ := strings.Cut(what, ".")
	name, field, _ := strings.Cut(rest, ".")
	for _, try := range []struct{ kind, rest string }{{engine + "." + name, field}, {engine, rest}} {
		if k, ok := schema.KindOf(try.kind); ok {
			return k, try.rest, nil
		}
	}
	var names []string
	for _, k := range schema.Kinds() {
		names = append(names, k.Name)
	}
	hint := "aplomb explain lists the kinds"
	if meant := schema.Closest(engine+"."+name, names); meant != "" {
		hint = fmt.Sprintf("did you mean %s?", meant)
	}
	return nil, "", hinted{fmt.Errorf("there is no kind %q", what), hint}
}

// findField finds the field that a person names: check.http, env.*, checks[].http
// or checks.http.
func findField(k *schema.Kind, name string) (schema.Field, error) {
	var names []string
	for _, f := range append(append([]schema.Field(nil), k.Fields...), k.Outputs...) {
		steps := f.Path.Steps()
		full, short := strings.Join(steps, "."), ""
		for _, s := range steps {
			if s != "*" {
				short += "." + s
			}
		}
		if name == full || "."+strings.ReplaceAll(name, "[]", "") == short {
			return f, nil
		}
		names = append(names, full)
	}
	hint := "aplomb explain " + k.Name + " lists the fields"
	if meant := schema.Closest(name, names); meant != "" {
		hint = fmt.Sprintf("did you mean %s.%s?", k.Name, meant)
	}
	return schema.Field{}, hinted{fmt.Errorf("%s has no field %q", k.Name, name), hint}
}

// linked is the version that a release is linked with (-ldflags
// "-X main.linked=v1.2.3"); otherwise the build's own information counts.
var linked string

// version is what this program is.
func version() string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	if rev != "" && !strings.Contains(v, rev) {
		v += " " + rev + dirty
	}
	return v
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Which version this is",
		Args:  args(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				System  string `json:"system"`
			}{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if done, err := a.json(v); done {
				return err
			}
			a.out.Note(fmt.Sprintf("aplomb %s  %s %s", v.Version, v.Go, v.System))
			return nil
		},
	}
}
