package main

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/sources"
)

// under is what declarations are compiled under, beside their own source:
// templates, policies, and what both know of the environment.
type under struct {
	name      string         // of the environment
	templates *config.Source // nil: those that are shipped
	policies  *config.Source // nil: none
	values    map[string]json.RawMessage
	rules     graph.Rules
}

// besides are the sources of it, by name.
func (u under) besides() map[string]*config.Source {
	all := map[string]*config.Source{}
	if u.templates != nil {
		all["templates"] = u.templates
	}
	if u.policies != nil {
		all["policies"] = u.policies
	}
	return all
}

// platformLocal is the value that says that the embedded drivers run things.
const platformLocal = `"local"`

// underRecord is what the data folder of an environment that is not configured
// remembers.
func underRecord(r record) under {
	u := under{name: r.Name, values: map[string]json.RawMessage{"platform": json.RawMessage(platformLocal)}}
	maps.Copy(u.values, r.Values)
	for path, s := range map[string]**config.Source{r.Templates: &u.templates, r.Policies: &u.policies} {
		if path != "" {
			*s = &config.Source{Dir: path}
		}
	}
	return u
}

// underSection is what a configuration says.
func underSection(e config.Environment) (under, error) {
	rules, err := rulesOf(e.Paths)
	return under{name: e.Name, templates: e.Templates, policies: e.Policies, values: e.Values, rules: rules}, err
}

// rulesOf are the rules of paths in the graph's words.
func rulesOf(paths []config.PathRule) (graph.Rules, error) {
	var all []graph.Rule
	for _, p := range paths {
		rule := graph.Rule{Path: p.Path}
		for _, list := range []struct {
			from []string
			to   *[]schema.Glob
		}{
			{p.Kinds, &rule.Kinds}, {p.Templates, &rule.Templates}, {p.Targets, &rule.Targets}, {p.Names, &rule.Names},
			{p.NomadNamespaces, &rule.NomadNamespaces}, {p.VaultPaths, &rule.VaultPaths},
		} {
			if list.from == nil {
				continue
			}
			*list.to = []schema.Glob{}
			for _, text := range list.from {
				g, err := schema.ParseGlob(text)
				if err != nil {
					return graph.Rules{}, fmt.Errorf("the rule for %s: %q: %w", p.Path, text, err) // checked with the configuration
				}
				*list.to = append(*list.to, g)
			}
		}
		all = append(all, rule)
	}
	return graph.NewRules(all), nil
}

// open opens the sources.
func (u under) open(f *folder, how opening, c *closers, log logrus.FieldLogger) (templates, policies reconciler.Followed, err error) {
	for name, s := range u.besides() {
		src, err := openFollowed(f, name, *s, how, c, log.WithField("source", name))
		if err != nil {
			return templates, policies, fmt.Errorf("%s: %w", name, err)
		}
		followed := reconciler.Followed{Source: src, Interval: time.Duration(s.Interval)}
		if name == "templates" {
			templates = followed
		} else {
			policies = followed
		}
	}
	return templates, policies, nil
}

// compiler is what the reconciler asks to compile a revision, with what policies
// say of what it yields. Without declarations it is the policies alone.
func (u under) compiler(c *compile.Compiler, g *guard) func(context.Context, reconciler.Snapshots) (reconciler.Compiled, error) {
	return func(ctx context.Context, all reconciler.Snapshots) (reconciler.Compiled, error) {
		var out reconciler.Compiled
		if all.Declarations != nil {
			got, err := c.Compile(ctx, u.declarations(all))
			out = reconciler.Compiled{Resources: got.Resources, Findings: got.Findings, Seen: got.Seen, Files: got.Files, Outside: got.Outside}
			if err != nil || len(got.Findings) > 0 {
				return out, err
			}
		}
		return out, g.guarded(ctx, all.Policies, &out)
	}
}

// declarations are the snapshots as the compiler wants them.
func (u under) declarations(all reconciler.Snapshots) compile.Declarations {
	d := compile.Declarations{FS: all.Declarations.FS, Root: all.Declarations.Root, Path: all.Declarations.Path, Values: u.values, Environment: u.name}
	if all.Templates != nil {
		d.Templates = all.Templates.FS
	}
	return d
}

// noFiles is a tree without any.
var noFiles fs.FS = &zip.Reader{}

// lookedAt are trees of templates and policies as they can be had without asking
// anybody, for validate.
type lookedAt struct {
	reconciler.Snapshots
	unchecked []string // what could not be had, and why
	blind     bool     // templates could not: nothing is known of their uses
}

// sound is how many declarations are.
func (l lookedAt) sound(got compile.Result) int {
	n := len(got.Resources)
	if l.blind {
		n = 0
		for _, r := range got.Seen {
			if r.Spec != nil {
				n++
			}
		}
	}
	return n
}

// known leaves out of the findings that a template is unknown where none could
// be had.
func (l lookedAt) known(findings []schema.Diagnostic) []schema.Diagnostic {
	if !l.blind {
		return findings
	}
	return slices.DeleteFunc(findings, func(d schema.Diagnostic) bool {
		kind, _, _ := strings.Cut(d.Subject, "/")
		return d.Path == "/kind" && !strings.Contains(kind, ".")
	})
}

// offline reads templates and policies that lie on this machine, or lie there
// since they were fetched into data, the environment's folder.
func (u under) offline(ctx context.Context, data string, c *closers) (lookedAt, error) {
	var all lookedAt
	for _, name := range slices.Sorted(maps.Keys(u.besides())) {
		s := u.besides()[name]
		snap, err := kept(ctx, data, name, *s, c)
		if errors.Is(err, sources.ErrGone) && s.Dir == "" {
			what := fmt.Sprintf("%s of %s: nothing of them was fetched yet", name, follow{Git: s.Git}.where())
			if name == "templates" {
				all.Templates, all.blind = &sources.Snapshot{FS: noFiles}, true
				what += "; nothing is known of what uses them"
			}
			all.unchecked = append(all.unchecked, what)
			continue
		}
		if err != nil {
			return all, fmt.Errorf("%s: %w", name, err)
		}
		c.add(snap.Close)
		if name == "templates" {
			all.Templates = snap
		} else {
			all.Policies = snap
		}
	}
	return all, nil
}

// warnBeside says that templates or policies are not the newest.
func (a *app) warnBeside(st reconciler.Status) {
	for i, f := range []*reconciler.FollowedStatus{st.Templates, st.Policies} {
		if f == nil || f.Source.OK || f.Source.Error == "" || a.format == formatJSON {
			continue
		}
		a.errs.Note("warning: " + []string{"templates", "policies"}[i] + ": " + f.Source.Error + "; what was fetched before is in force")
	}
}
