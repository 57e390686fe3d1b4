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
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/schema/compile/edit"
	"github.com/aplomb-dev/aplomb/schema/policy"
	"github.com/aplomb-dev/aplomb/sources/dir"
)

func (a *app) validate() *cobra.Command {
	var file string
	var bf besideFlags
	c := &cobra.Command{
		Use:   "validate [PATH]",
		Short: "Check declarations offline: every finding at once",
		Long: `Checks the declarations below PATH as they lie there, without a daemon, a data
folder or the network. Every finding is a line on standard output:

    file:line:col: kind/name: message

Where PATH is a file, that file alone is checked: what it refers to in others is
not looked for. With -c the daemon's configuration is checked, and declarations,
where PATH is given, for one of its environments: its targets, its values, what
its paths may declare, and its templates and policies as far as they lie on this
machine; what could not be had is told. PATH is the folder that the environment
follows, or one below it: what that refers to outside of itself is not looked
for, which is told too.`,
		Args: args(0, 1, "at most one PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
			return a.runValidate(cmd.Context(), path, file, bf, len(args) > 0 || file == "")
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "the daemon's configuration")
	bf.register(c)
	c.Flags().StringVar(&a.env, "env", a.getenv("APLOMB_ENV"), "with -c and PATH: for which environment (or APLOMB_ENV)")
	return c
}

// validation is what validate answers with -o json.
type validation struct {
	Files     int                 `json:"files"`
	Resources int                 `json:"resources"`
	Findings  []schema.Diagnostic `json:"findings"`
	Refusals  []schema.Diagnostic `json:"refusals,omitempty"`  // by policies
	Advice    []schema.Diagnostic `json:"advice,omitempty"`    // by policies that only advise
	Unchecked []string            `json:"unchecked,omitempty"` // what would have been needed, and could not be had offline

	unloaded bool              // the refusals are why the policies do not load
	declared []schema.Resource // all that is good
}

// validating is what declarations are checked for.
type validating struct {
	path    string
	targets []config.Target
	under   under
	data    string // the environment's data folder, which need not be there
	base    string // where the declarations lie in what the environment follows
	part    bool   // more than they is followed

	edited *edit.File // of the declarations, with another content; nil: none
}

func (a *app) runValidate(ctx context.Context, path, file string, bf besideFlags, declarations bool) error {
	r := record{Name: "local"}
	if file != "" && bf.given() {
		return usage("leave the flags out", "the configuration says what an environment is compiled under")
	}
	if err := bf.adopt(&r); err != nil {
		return err
	}
	v, how := validation{}, validating{path: path, targets: localTargets(""), under: underRecord(r)}
	if file != "" {
		cfg, findings, err := loadConfig(ctx, file)
		if err != nil {
			return err
		}
		v.Files, v.Findings = 1, findings
		if cfg != nil {
			v.Findings, v.Unchecked = signersOf(cfg)
		}
		if declarations && cfg != nil {
			e, err := a.sectionOf(cfg)
			if err != nil {
				return err
			}
			if how, err = validatingFor(cfg, *e, path); err != nil {
				return err
			}
		}
	}
	if declarations && len(v.Findings) == 0 {
		more, err := check(ctx, how)
		if err != nil {
			return err
		}
		more.Files, more.Unchecked = more.Files+v.Files, append(v.Unchecked, more.Unchecked...)
		v = more
	}
	done, err := a.json(v)
	if err != nil {
		return err
	}
	for _, text := range v.Unchecked {
		if !done {
			a.errs.Note("not checked: " + text)
		}
	}
	if err := a.failing(v, done); err != nil {
		return err
	}
	if !done {
		a.out.Judged(v.Refusals, v.Advice)
		a.out.Valid(v.Files, v.Resources)
	}
	return nil
}

// failing says what is wrong with declarations, unless that is done, and
// answers the error that it comes to; nil: they are good.
func (a *app) failing(v validation, done bool) error {
	switch {
	case len(v.Findings) > 0 && !done:
		a.out.Lint(v.Findings)
		a.out.Judged(v.Refusals, nil)
		a.errs.Summary(v.Findings, v.Files)
		return told{errFindings}
	case len(v.Findings) > 0:
		return told{errFindings}
	case len(v.Refusals) == 0 && !v.unloaded:
		return nil
	case done:
		return told{errPolicy}
	}
	a.out.Judged(v.Refusals, v.Advice)
	if v.unloaded {
		a.errs.Note("policies that do not load refuse everything.")
	} else {
		a.errs.Refused(len(v.Refusals))
	}
	return told{errPolicy}
}

// validatingFor is what declarations at path are checked for, for an
// environment of a configuration.
func validatingFor(cfg *config.Config, e config.Environment, path string) (validating, error) {
	u, err := underSection(e)
	how := validating{path: path, targets: e.Targets, under: u, data: filepath.Join(cfg.Data, e.Name)}
	folder := path
	if st, serr := os.Stat(path); serr == nil && !st.IsDir() {
		folder = filepath.Dir(path)
	}
	how.base, how.part = followedPart(e.Source, folder)
	return how, err
}

// followedPart is where a folder lies in what an environment follows, and
// whether it is only a part of that. A folder that is nowhere in it, such as a
// copy, is taken for the whole.
func followedPart(s config.Source, folder string) (base string, part bool) {
	if rel, in := reaches(s.Dir, folder); in {
		return rel, rel != ""
	}
	_, below := dir.Around(folder)
	rest, in := strings.CutPrefix(below+"/", strings.TrimSuffix(s.Path, "/")+"/")
	switch {
	case below == "":
	case s.Path == "":
		base = below
	case in:
		base = strings.TrimSuffix(rest, "/")
	}
	return base, base != "" && s.Dir == ""
}

// reaches is where a folder lies below another, "" where it is the same.
func reaches(whole, folder string) (rel string, in bool) {
	if whole == "" {
		return "", false
	}
	var real [2]string
	for i, p := range []string{whole, folder} {
		abs, err := filepath.Abs(p)
		if err != nil {
			return "", false
		}
		if real[i], err = filepath.EvalSymlinks(abs); err != nil {
			return "", false
		}
	}
	rel, err := filepath.Rel(real[0], real[1])
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	if rel == "." {
		rel = ""
	}
	return filepath.ToSlash(rel), true
}

// check compiles a tree, and puts it in order for targets.
func check(ctx context.Context, how validating) (_ validation, err error) {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	closers := &closers{}
	defer func() { err = errors.Join(err, closers.Close()) }()
	pool := workers(quiet, closers)
	c := compile.New(compile.Options{Workers: pool, Log: quiet})
	folder, file, err := split(how.path)
	if err != nil {
		return validation{}, err
	}
	all, err := how.under.offline(ctx, how.data, closers)
	if err != nil {
		return validation{}, err
	}
	if all.Declarations, err = lying(folder, file, closers); err != nil {
		return validation{}, err
	}
	if how.edited != nil {
		all.Declarations.FS = overlay{all.Declarations.FS, *how.edited}
	}
	d := how.under.declarations(all.Snapshots)
	d.Part = how.part || file != ""
	got, err := c.Compile(ctx, d)
	if err != nil {
		return validation{}, fmt.Errorf("validate %s: %w", how.path, err)
	}
	v := validation{Files: got.Files, Resources: all.sound(got), Findings: all.known(got.Findings), Unchecked: all.unchecked, declared: got.Resources}
	t, err := newTargets(nowhere(), make([]byte, keySize), how.targets, closers, quiet)
	if err != nil {
		return v, err
	}
	seen := got.Seen
	if how.part && file == "" {
		v.Unchecked = append(slices.Clip(v.Unchecked), "what "+how.path+" refers to outside of itself: validate all that the environment follows")
	}
	if d.Part {
		seen = append(seen, schema.Resource{}) // the other files may declare anything
	}
	rules := how.under.rules.Below(how.base)
	v.Findings = below(folder, schema.SortDiagnostics(append(v.Findings, rules.Check(seen, t.registry)...)))
	if all.Policies == nil {
		return v, nil
	}
	g := &guard{judge: policy.New(policy.Options{Workers: pool, Log: quiet}), env: how.under.name}
	return v, v.judge(ctx, g, all.Policies, folder, got.Resources)
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
		if p.File != "" && !compile.InTemplate(p) && !policy.InPolicies(p) {
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
