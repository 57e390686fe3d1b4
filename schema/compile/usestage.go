package compile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// Second stage: what uses of templates yield. It is checked and cached use by
// use: by the use, all templates, and what the operator says of the
// environment.

// maxTemplatePackages bounds the packages of a tree of templates.
const maxTemplatePackages = 500

// unfold adds the uses in results, as inputs of their own, with what they
// yield.
func (c *Compiler) unfold(ctx context.Context, round int, d Declarations, inputs []input, results []fileResult) ([]input, []fileResult, error) {
	uses, twice := distinctUses(results)
	if len(uses) == 0 && d.Templates == nil {
		return inputs, results, nil
	}
	setup, whole, faults, err := c.templateSetup(d)
	if err != nil {
		return nil, nil, err
	}
	whole.hit = c.cache.get(whole.key, round)
	stage := []input{whole}
	first, err := c.check(ctx, round, setup, stage)
	if err != nil {
		return nil, nil, err
	}
	if first[0].Templates == nil && len(first[0].Broken) > 0 {
		first[0].Findings[0].Hint = "they may have no end: take out what was added last"
	}
	first[0].Findings = slices.Concat(faults, twice, first[0].Findings)
	inputs, results = append(inputs, stage...), append(results, first...)
	if len(uses) == 0 {
		return inputs, results, nil
	}
	stage = make([]input, len(uses))
	sum := sha256.Sum256(setup)
	for i, u := range uses {
		if stage[i], err = c.useInput(round, u, sum); err != nil {
			return nil, nil, err
		}
	}
	unfolded := make([]fileResult, len(uses))
	if first[0].Templates == nil && len(first[0].Broken) > 0 { // they cost too much to be read at all: once is enough
		for i, u := range uses {
			unfolded[i] = u.blamed("was not tried: see the findings about the templates")
		}
	} else if unfolded, err = c.check(ctx, round, setup, stage); err != nil {
		return nil, nil, err
	}
	return append(inputs, stage...), append(results, unfolded...), nil
}

// distinctUses are the uses in results; of two with one name, the first.
func distinctUses(results []fileResult) (uses []*templateUse, twice []schema.Diagnostic) {
	seen := map[schema.ID]*templateUse{}
	for _, r := range results {
		for i := range r.Unfold {
			u := &r.Unfold[i]
			id := u.Declared.ID
			if first := seen[id]; first != nil {
				twice = append(twice, schema.Diagnostic{
					Pos: u.Declared.Pos, Subject: id.Short(), Message: "declared twice", Also: []schema.Pos{first.Declared.Pos},
				})
				continue
			}
			seen[id] = u
			uses = append(uses, u)
		}
	}
	return uses, twice
}

// useInput is a use as an input, with what is known of it under a setup.
func (c *Compiler) useInput(round int, u *templateUse, setup [sha256.Size]byte) (input, error) {
	data, err := json.Marshal(u)
	if err != nil {
		return input{}, err
	}
	in := input{Path: u.File, Use: u, key: keyOf("use "+string(setup[:]), u.File, data)}
	in.hit = c.cache.get(in.key, round)
	return in, nil
}

// templateSetup gathers the templates in force, encoded for the workers, and the
// input that reads them all; faults are what is wrong with their extent.
func (c *Compiler) templateSetup(d Declarations) (setup []byte, whole input, faults []schema.Diagnostic, err error) {
	s := &templateSetup{Environment: d.Environment, Values: d.Values, Shipped: d.Templates == nil}
	if d.Templates != nil {
		if s.Bundles, faults, err = c.gather(d.Templates); err != nil {
			return nil, input{}, nil, err
		}
	}
	setup, err = json.Marshal(handlerSetup{Limits: c.options.Limits, Templates: s})
	return setup, input{Path: s.place(), key: keyOf("templates", "", setup)}, faults, err
}

// place is where findings about all templates together stand: the first file of
// a package that is alone, else the folder.
func (s *templateSetup) place() string {
	if len(s.Bundles) == 1 && len(s.Bundles[0].Files) > 0 {
		return templatePrefix + s.Bundles[0].Files[0].Path
	}
	return templatePrefix + "."
}

// gather bundles every package of a tree of templates.
func (c *Compiler) gather(tree fs.FS) (all []*cueload.Bundle, faults []schema.Diagnostic, err error) {
	r := cueload.NewReader(tree, c.options.Limits.FileBytes)
	fault := func(dir string, err error) {
		at := schema.Pos{File: templatePrefix + dir, Line: 1, Col: 1}
		if f := (*cueload.FileError)(nil); errors.As(err, &f) {
			at.File, err = templatePrefix+f.Path, f.Err
		}
		faults = append(faults, schema.Diagnostic{Pos: at, Message: "the templates cannot be read: " + cause(err)})
	}
	err = fs.WalkDir(tree, ".", func(dir string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !e.IsDir():
			if err := cueload.Unread(tree, dir, e); err != nil {
				faults = append(faults, schema.Diagnostic{Pos: schema.Pos{File: templatePrefix + dir, Line: 1, Col: 1},
					Message: "the templates cannot be read: " + err.Error(), Hint: "put the file or folder itself here"})
			}
			return nil
		case dir != "." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "cue.mod"):
			return fs.SkipDir
		case len(all) > maxTemplatePackages:
			return fmt.Errorf("more than %d packages of templates", maxTemplatePackages)
		}
		packages, err := r.Packages(dir)
		if err != nil {
			fault(dir, err)
			return nil
		}
		for name, files := range packages {
			bundles, err := bundlesOf(r, dir, name, files)
			if err != nil {
				fault(dir, err)
			}
			all = append(all, bundles...)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the templates: %w", err)
	}
	slices.SortFunc(all, func(a, b *cueload.Bundle) int {
		return cmp.Or(strings.Compare(a.Dir, b.Dir), strings.Compare(a.Package, b.Package), strings.Compare(a.File, b.File))
	})
	return all, faults, nil
}

func bundlesOf(r *cueload.Reader, dir, name string, files []string) ([]*cueload.Bundle, error) {
	if name != "" {
		b, err := r.Bundle(dir, name)
		if err != nil {
			return nil, err
		}
		return []*cueload.Bundle{b}, nil
	}
	var all []*cueload.Bundle
	for _, f := range files {
		b, err := r.FileBundle(path.Clean(f))
		if err != nil {
			return all, err
		}
		all = append(all, b)
	}
	return all, nil
}

// blamed is the result of a use over which a worker ended.
func (u *templateUse) blamed(why string) fileResult {
	return fileResult{
		Broken:   []fragment{{Kind: u.Declared.ID.Kind, Name: u.Declared.ID.Name, Pos: u.Declared.Pos}},
		Unfolded: &unfolded{Use: *u.use(), Failed: true},
		Findings: []schema.Diagnostic{{
			Pos: u.Declared.Pos, Subject: u.Declared.ID.Short(), Message: "unfolding it " + why,
			Hint: "its template may have no end: unfold it with less",
		}},
	}
}

// Templates are the templates in force for d, by name and then the newest
// version first, and what is wrong with them. No declaration is read.
func (c *Compiler) Templates(ctx context.Context, d Declarations) ([]Template, []schema.Diagnostic, error) {
	setup, in, faults, err := c.templateSetup(d)
	if err != nil {
		return nil, nil, err
	}
	round := c.cache.begin()
	in.hit = c.cache.get(in.key, round)
	got, err := c.check(ctx, round, setup, []input{in})
	if err != nil {
		return nil, nil, fmt.Errorf("read the templates: %w", err)
	}
	c.cache.save(round)
	return got[0].Templates, schema.SortDiagnostics(append(faults, got[0].Findings...)), nil
}
