package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

func (a *app) validate() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "validate [PATH]",
		Short: "Check declarations offline: every finding at once",
		Long: `Checks the declarations below PATH as they lie there, without a daemon, a data
folder or the network. Every finding is a line on standard output:

    file:line:col: kind/name: message

Where PATH is a file, that file alone is checked: what it refers to in others is
not looked for. With -c the daemon's configuration is checked, and declarations,
where PATH is given, for the targets of one of its environments.`,
		Args: args(0, 1, "at most one PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
			return a.runValidate(cmd.Context(), path, file, len(args) > 0 || file == "")
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "the daemon's configuration")
	c.Flags().StringVar(&a.env, "env", a.getenv("APLOMB_ENV"), "with -c and PATH: for which environment (or APLOMB_ENV)")
	return c
}

// validation is what validate answers with -o json.
type validation struct {
	Files     int                 `json:"files"`
	Resources int                 `json:"resources"`
	Findings  []schema.Diagnostic `json:"findings"`
}

func (a *app) runValidate(ctx context.Context, path, file string, declarations bool) error {
	v, all := validation{}, localTargets("")
	if file != "" {
		cfg, findings, err := loadConfig(ctx, file)
		if err != nil {
			return err
		}
		v.Files, v.Findings = 1, findings
		if declarations && cfg != nil {
			e, err := a.sectionOf(cfg)
			if err != nil {
				return err
			}
			all = e.Targets
		}
	}
	if declarations && len(v.Findings) == 0 {
		more, err := check(ctx, path, all)
		if err != nil {
			return err
		}
		v.Files, v.Resources, v.Findings = v.Files+more.Files, more.Resources, more.Findings
	}
	done, err := a.json(v)
	if err != nil {
		return err
	}
	switch {
	case len(v.Findings) > 0 && !done:
		a.out.Lint(v.Findings)
		a.errs.Summary(v.Findings, v.Files)
		return told{errFindings}
	case len(v.Findings) > 0:
		return told{errFindings}
	case !done:
		a.out.Valid(v.Files, v.Resources)
	}
	return nil
}

// check compiles the tree at path, and puts it in order for targets.
func check(ctx context.Context, path string, all []config.Target) (_ validation, err error) {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	closers := &closers{}
	defer func() { err = errors.Join(err, closers.Close()) }()
	c := compile.New(compile.Options{Workers: workers(quiet, closers), Log: quiet})
	dir, file, err := split(path)
	if err != nil {
		return validation{}, err
	}
	fsys, closer, err := tree(dir, file)
	if err != nil {
		return validation{}, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	got, err := c.Compile(ctx, compile.Declarations{FS: fsys})
	if err != nil {
		return validation{}, fmt.Errorf("validate %s: %w", path, err)
	}
	v := validation{Files: got.Files, Resources: len(got.Resources), Findings: got.Findings}
	t, err := newTargets(nowhere(), make([]byte, keySize), all, closers, quiet)
	if err != nil {
		return v, err
	}
	seen := got.Seen
	if file != "" {
		seen = append(seen, schema.Resource{}) // the other files may declare anything
	}
	v.Findings = below(dir, schema.SortDiagnostics(append(v.Findings, graph.Check(seen, t.registry)...)))
	return v, nil
}

// split takes a PATH apart: the folder, and the one file of it that is meant;
// "" is all of them.
func split(path string) (dir, file string, err error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", hinted{fmt.Errorf("validate %s: %w or file", path, errNoPath), "name the folder that holds the declarations, or one file of it"}
	case err != nil:
		return "", "", fmt.Errorf("validate: %w", err)
	case st.IsDir():
		return path, "", nil
	default:
		return filepath.Dir(path), filepath.Base(path), nil
	}
}

// below names the files of findings as they are reached from the working
// folder.
func below(dir string, ds []schema.Diagnostic) []schema.Diagnostic {
	out := make([]schema.Diagnostic, 0, len(ds))
	at := func(p schema.Pos) schema.Pos {
		if p.File != "" {
			p.File = filepath.ToSlash(filepath.Join(dir, filepath.FromSlash(p.File)))
		}
		return p
	}
	for _, d := range ds {
		d.Pos, d.Also = at(d.Pos), slices.Clone(d.Also)
		for i, p := range d.Also {
			d.Also[i] = at(p)
		}
		out = append(out, d)
	}
	return out
}
