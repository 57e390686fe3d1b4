package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// templates reads those of a folder, or those that are shipped where dir is "".
// Findings are answered beside what could be read.
func templates(ctx context.Context, dir string) (_ []compile.Template, _ []schema.Diagnostic, err error) {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	closers := &closers{}
	defer func() { err = errors.Join(err, closers.Close()) }()
	d := compile.Declarations{}
	if dir != "" {
		fsys, closer, err := tree(dir, "")
		if err != nil {
			return nil, nil, fmt.Errorf("read the templates: %w", err)
		}
		closers.add(closer.Close)
		d.Templates = fsys
	}
	c := compile.New(compile.Options{Workers: workers(quiet, closers), Log: quiet})
	return c.Templates(ctx, d)
}

// explained is a template as the screen has it.
func explained(t compile.Template, all []compile.Template) terminal.Template {
	out := terminal.Template{Kind: t.Kind, Version: t.Version, At: t.Pos.String()}
	for _, o := range all {
		if o.Name == t.Name {
			out.Versions = append(out.Versions, o.Version)
		}
	}
	return out
}

// explainTemplate explains TEMPLATE[@VERSION][.field]; false where there is no
// such template.
func (a *app) explainTemplate(what string, all []compile.Template) (bool, error) {
	head, field, _ := strings.Cut(what, ".")
	name, version, pinned := strings.Cut(head, "@")
	at := slices.IndexFunc(all, func(t compile.Template) bool { return t.Name == name && (!pinned || t.Version == version) })
	if at < 0 {
		return false, nil
	}
	t := all[at] // the newest
	if field == "" || field == "spec" {
		if done, err := a.json(t); done {
			return true, err
		}
		a.out.Template(explained(t, all))
		return true, nil
	}
	f, err := findField(&t.Kind, strings.TrimPrefix(field, "spec."))
	if err != nil {
		return true, err
	}
	if done, err := a.json(f); done {
		return true, err
	}
	a.out.Field(t.Kind, f)
	return true, nil
}

// unfoldedUse is what show answers of a use with -o json.
type unfoldedUse struct {
	Use       schema.Use                  `json:"use"`
	Resources []reconciler.ResourceStatus `json:"resources"`
}

// showUse writes what a use of a template yielded.
func (a *app) showUse(s *session, id schema.ID) error {
	st, err := s.current()
	if err != nil {
		return err
	}
	var v unfoldedUse
	var known []string
	for _, r := range st.Resources {
		if r.Use == nil {
			continue
		}
		if r.Use.String() == id.Short() {
			v.Use = *r.Use
			v.Resources = append(v.Resources, r)
		}
		known = append(known, r.Use.String())
	}
	if v.Resources == nil {
		hint := "aplomb status --all lists what there is"
		if meant := schema.Closest(id.Short(), known); meant != "" {
			hint = fmt.Sprintf("did you mean %s?", meant)
		}
		return hinted{fmt.Errorf("%s: %w", id.Short(), reconciler.ErrUnknown), hint}
	}
	if done, err := a.json(v); done {
		return err
	}
	a.out.Use(v.Use, v.Resources)
	return nil
}
