package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// signersOf reads the files with keys that a configuration names, as they are
// read at each use. Those that are not on this machine are told: they may be on
// the daemon's.
func signersOf(cfg *config.Config) (findings []schema.Diagnostic, unchecked []string) {
	for _, e := range cfg.Environments {
		at := schema.Path("/environments").Child(e.Name)
		lists := map[schema.Path][]string{at.Child("source").Child("signers"): e.Source.Signers}
		for name, s := range map[string]*config.Source{"templates": e.Templates, "policies": e.Policies} {
			if s != nil {
				lists[at.Child(name).Child("signers")] = s.Signers
			}
		}
		if e.Forge != nil {
			lists[at.Child("forge").Child("signers")] = e.Forge.Signers
		}
		for at, files := range lists {
			wrong, away := signersIn(cfg, at, files)
			findings, unchecked = append(findings, wrong...), append(unchecked, away...)
		}
	}
	slices.Sort(unchecked)
	return schema.SortDiagnostics(findings), unchecked
}

// signersIn reads one list: each file by itself, for its place, and all together.
func signersIn(cfg *config.Config, at schema.Path, files []string) (findings []schema.Diagnostic, unchecked []string) {
	find := func(at schema.Path, err error) {
		findings = append(findings, schema.Diagnostic{Pos: cfg.At(at), Path: at, Message: fmt.Sprintf("%s: %s", at, err), Hint: hintOf(err)})
	}
	var here []string
	for i, file := range files {
		_, err := git.ReadSigners(file)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
			unchecked = append(unchecked, fmt.Sprintf("%s: %s cannot be read on this machine", at.Index(i), filepath.Base(file)))
		case err != nil:
			find(at.Index(i), err)
		default:
			here = append(here, file)
		}
	}
	if len(findings) > 0 {
		return findings, unchecked
	}
	if _, err := git.ReadSigners(here...); err != nil {
		find(at, err)
	}
	return findings, unchecked
}
