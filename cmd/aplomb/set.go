package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile/edit"
)

// setting is what aplomb set was told.
type setting struct {
	id      schema.ID
	sets    []edit.Set
	folder  string
	file    string // the daemon's configuration
	beside  besideFlags
	propose bool
	title   string
	why     string
}

func (a *app) set() *cobra.Command {
	var s setting
	c := &cobra.Command{
		Use:   "set KIND/NAME PATH=VALUE [PATH=VALUE...]",
		Short: "Set values of a declaration, as a pipeline does with a new image; --pr proposes it",
		Long: `Sets values in the YAML or JSON file that declares KIND/NAME, which may be a use
of a template. Nothing else of the file changes: comments, order and quotes stay.

PATH begins below the spec: image, containers[0].image, vars["a.b"]. VALUE is a
text; a number, a truth value, null or a quoted text is what it is in JSON, but a
field that holds a text stays a text. A field that is not there is added at the
end of what it belongs to.

The file is changed in the folder -C, if what comes of it is valid (aplomb
validate; -c, --templates and the like mean the same). With --pr the daemon
changes it in the repository that the environment follows, on a branch of its
own, and opens a proposal. The same again changes nothing.`,
		Args: args(2, 1+edit.MaxSets, "KIND/NAME and PATH=VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if s.id, err = resource(args[0]); err != nil {
				return err
			}
			for _, text := range args[1:] {
				one, err := edit.ParseSet(text)
				if err != nil {
					return usage(hintOf(err), "%w", err)
				}
				s.sets = append(s.sets, one)
			}
			local := s.beside.given() || s.file != "" || cmd.Flags().Changed("directory")
			switch {
			case s.propose && local:
				return usage("leave out -C, -c, --templates, --policies and --value", "with --pr it is the daemon that knows the declarations")
			case !s.propose && s.title+s.why != "":
				return usage("add --pr", "--title and --why are about a proposal")
			case s.propose:
				return a.runPropose(cmd.Context(), s)
			}
			return a.runSet(cmd.Context(), s)
		},
	}
	f := a.client(c).Flags()
	f.StringVarP(&s.folder, "directory", "C", ".", "folder of the declarations")
	f.StringVarP(&s.file, "config", "c", "", "the daemon's configuration, to validate for an environment of it")
	s.beside.register(c)
	f.BoolVar(&s.propose, "pr", false, "have the daemon propose it on the forge, instead of changing files here")
	f.StringVar(&s.title, "title", "", "with --pr: title of the proposal")
	f.StringVar(&s.why, "why", "", "with --pr: what the proposal is for")
	return c
}

// setOutcome is what set answers with -o json.
type setOutcome struct {
	ID      schema.ID     `json:"id"`
	Pos     schema.Pos    `json:"pos"`
	Changes []edit.Change `json:"changes"`
	Changed bool          `json:"changed"`
	Invalid *validation   `json:"invalid,omitempty"` // why nothing was changed
}

func (a *app) runSet(ctx context.Context, s setting) (err error) {
	closers := &closers{}
	defer func() { err = errors.Join(err, closers.Close()) }()
	if st, err := os.Stat(s.folder); err != nil || !st.IsDir() {
		return hinted{fmt.Errorf("set: %s: %w", s.folder, errNoPath), "-C names the folder that holds the declarations"}
	}
	root, err := os.OpenRoot(s.folder)
	if err != nil {
		return fmt.Errorf("set: %w", err)
	}
	closers.add(root.Close)
	how, err := a.setUnder(ctx, s)
	if err != nil {
		return err
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	got, err := edit.In(ctx, workers(quiet, closers), root.FS(), s.id, s.sets)
	if err != nil {
		return fmt.Errorf("set %s: %w", s.id, a.whereElse(ctx, how, s.id, err))
	}
	o := setOutcome{ID: s.id, Pos: below(s.folder, []schema.Diagnostic{{Pos: got.Pos}})[0].Pos, Changes: got.Changes, Changed: got.Changed()}
	if !o.Changed {
		return a.tellSet(o)
	}
	how.edited = &got.File
	v, stays, err := broken(ctx, how)
	if err != nil {
		return err
	}
	if stays > 0 {
		a.errs.Note(fmt.Sprintf("wrong without this change, too, so that no policy was asked: %d (aplomb validate)", stays))
	}
	if v != nil {
		o.Changed, o.Invalid = false, v
		done, err := a.json(o)
		if err != nil {
			return err
		}
		return a.failing(*v, done)
	}
	if err := overwrite(root, got); err != nil {
		return fmt.Errorf("set %s: %w", s.id, err)
	}
	return a.tellSet(o)
}

// broken is what an edit would break; nil: nothing. What is wrong without it is
// no reason against it, such as that no configuration was named that has the
// targets: how much that is it answers, too.
func broken(ctx context.Context, how validating) (_ *validation, stays int, err error) {
	after, err := check(ctx, how)
	if err != nil || !after.bad() {
		return nil, 0, err
	}
	how.edited = nil
	before, err := check(ctx, how)
	if err != nil {
		return nil, 0, err
	}
	after.Findings, after.Refusals = without(after.Findings, before.Findings), without(after.Refusals, before.Refusals)
	after.unloaded = after.unloaded && !before.unloaded
	if !after.bad() {
		return nil, len(before.Findings), nil
	}
	return &after, 0, nil
}

// bad says whether anything is wrong.
func (v validation) bad() bool { return len(v.Findings)+len(v.Refusals) > 0 || v.unloaded }

// without is what is said now and was not said before, wherever it stood.
func without(now, before []schema.Diagnostic) []schema.Diagnostic {
	said := func(d schema.Diagnostic) [4]string {
		return [4]string{d.Pos.File, d.Subject, string(d.Path), d.Message}
	}
	had := map[[4]string]int{}
	for _, d := range before {
		had[said(d)]++
	}
	var news []schema.Diagnostic
	for _, d := range now {
		if had[said(d)]--; had[said(d)] < 0 {
			news = append(news, d)
		}
	}
	return news
}

// setUnder is what the declarations are checked under.
func (a *app) setUnder(ctx context.Context, s setting) (validating, error) {
	r := record{Name: "local"}
	if s.file == "" {
		if err := s.beside.adopt(&r); err != nil {
			return validating{}, err
		}
		return validating{path: s.folder, targets: localTargets(""), under: underRecord(r)}, nil
	}
	if s.beside.given() {
		return validating{}, usage("leave the flags out", "the configuration says what an environment is compiled under")
	}
	cfg, findings, err := loadConfig(ctx, s.file)
	if err != nil {
		return validating{}, err
	}
	if len(findings) > 0 {
		return validating{}, a.failing(validation{Files: 1, Findings: findings}, false)
	}
	e, err := a.sectionOf(cfg)
	if err != nil {
		return validating{}, err
	}
	return validatingFor(cfg, *e, s.folder)
}

// whereElse says of what no file of YAML or JSON declares where it comes from.
func (a *app) whereElse(ctx context.Context, how validating, id schema.ID, err error) error {
	var e *edit.Error
	if !errors.As(err, &e) || !e.Missing {
		return err
	}
	v, cerr := check(ctx, how)
	if cerr != nil {
		return err
	}
	for _, r := range v.declared {
		switch {
		case r.Use != nil && r.Use.Template == id.Kind && r.Use.Name == id.Name, r.Use == nil && r.ID.Kind == id.Kind && r.ID.Name == id.Name:
			return hinted{fmt.Errorf("%w: it is declared in CUE, at %s", err, r.Pos), "change it there by hand: values are set in YAML and JSON only"}
		case r.ID.Kind == id.Kind && r.ID.Name == id.Name:
			return hinted{fmt.Errorf("%w: it is what %s yields, at %s", err, r.Use, r.Use.Pos), fmt.Sprintf("set a field of that: aplomb set %s", r.Use)}
		}
	}
	return hinted{err, meantToSet(id, v.declared)}
}

// meantToSet says how what was to be set might be called.
func meantToSet(id schema.ID, declared []schema.Resource) string {
	var all []string
	for _, r := range declared {
		if r.Use != nil {
			all = append(all, r.Use.String())
		} else {
			all = append(all, r.ID.Short())
		}
	}
	if meant := schema.Closest(id.Short(), all); meant != "" {
		return fmt.Sprintf("did you mean %s?", meant)
	}
	return "KIND/NAME are kind and metadata.name, as the file has them"
}

// overwrite puts an edited file in the place of the one that it was made of.
func overwrite(root *os.Root, e edit.Edited) error {
	st, err := root.Lstat(e.File.Path)
	if err != nil {
		return err
	}
	now, err := root.ReadFile(e.File.Path)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || !bytes.Equal(now, e.Was) {
		return hinted{fmt.Errorf("%s: it was changed meanwhile", e.File.Path), "try again"}
	}
	return atomicfile.Replace(root, e.File.Path, e.File.Data, st.Mode().Perm())
}

// tellSet says what was set.
func (a *app) tellSet(o setOutcome) error {
	if done, err := a.json(o); done {
		return err
	}
	if !o.Changed {
		a.out.Note(fmt.Sprintf("%s is so already, at %s; nothing was changed", o.ID, o.Pos))
		return nil
	}
	var all []terminal.SetValue
	for _, c := range o.Changes {
		all = append(all, terminal.SetValue(c))
	}
	a.out.Set(o.Pos, o.ID.String(), all)
	return nil
}

// overlay is a file system in which one file is another one.
type overlay struct {
	fs.FS
	file edit.File
}

// Open implements fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	f, err := o.FS.Open(name)
	if err != nil || name != o.file.Path {
		return f, err
	}
	return &overlaid{f, bytes.NewReader(o.file.Data)}, nil
}

// Lstat implements fs.ReadLinkFS as the file system below does.
func (o overlay) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(o.FS, name) }

// ReadLink implements fs.ReadLinkFS.
func (o overlay) ReadLink(name string) (string, error) { return fs.ReadLink(o.FS, name) }

// ReadDir implements fs.ReadDirFS.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(o.FS, name) }

type overlaid struct {
	fs.File
	data *bytes.Reader
}

// Read reads the other content.
func (o *overlaid) Read(b []byte) (int, error) { return o.data.Read(b) }

var _ fs.ReadLinkFS = overlay{}

// runPropose asks the daemon for a proposal.
func (a *app) runPropose(ctx context.Context, s setting) (err error) {
	d, err := a.ask(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	c, ok := d.Control.(*api.Client)
	if !ok {
		return fmt.Errorf("set %s: %w", s.id, api.ErrNotServed)
	}
	r := api.SetRequest{ID: s.id, Title: s.title, By: person(), Why: s.why}
	for _, one := range s.sets {
		r.Set = append(r.Set, api.SetValue(one))
	}
	got, err := c.Set(ctx, r)
	if err != nil {
		return fmt.Errorf("set %s: %w", s.id, err)
	}
	if done, err := a.json(got); done {
		return err
	}
	if !got.Changed || got.Proposal == nil {
		a.out.Note(fmt.Sprintf("%s is so already, at %s; nothing is proposed", got.ID, got.Pos))
		return nil
	}
	var all []terminal.SetValue
	for _, one := range got.Changes {
		all = append(all, terminal.SetValue(one))
	}
	a.out.Set(got.Pos, got.ID.String(), all)
	a.out.Note(fmt.Sprintf("proposal %s: %s   %s", got.Proposal.ID, got.Proposal.Title, got.Proposal.URL))
	return nil
}
