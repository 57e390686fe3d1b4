package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
)

func (a *app) validate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate [PATH]",
		Short: "Check declarations offline: every finding at once",
		Long: `Checks the declarations below PATH as they lie there, without a daemon, a data
folder or the network. Every finding is a line on standard output:

    file:line:col: kind/name: message`,
		Args: args(0, 1, "at most one PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) > 0 {
				path = args[0]
			}
			return a.runValidate(cmd.Context(), path)
		},
	}
}

// validation is what validate answers with -o json.
type validation struct {
	Files     int                 `json:"files"`
	Resources int                 `json:"resources"`
	Findings  []schema.Diagnostic `json:"findings"`
}

func (a *app) runValidate(ctx context.Context, path string) error {
	v, err := check(ctx, path)
	if err != nil {
		return err
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

// check compiles the tree at path, and puts it in order.
func check(ctx context.Context, path string) (_ validation, err error) {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	c, err := compiler("", quiet)
	if err != nil {
		return validation{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	fsys, closer, err := tree(path)
	if err != nil {
		return validation{}, hinted{err, "name the folder that holds the declarations"}
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	got, err := c.Compile(ctx, fsys)
	if err != nil {
		return validation{}, fmt.Errorf("validate %s: %w", path, err)
	}
	v := validation{Files: got.Files, Resources: len(got.Resources), Findings: got.Findings}
	if len(v.Findings) == 0 {
		reg, err := newEmbedded(nowhere(), make([]byte, keySize), quiet).registry("", quiet)
		if err != nil {
			return v, err
		}
		_, v.Findings = graph.Build(got.Resources, reg)
	}
	if v.Findings == nil {
		v.Findings = []schema.Diagnostic{}
	}
	return v, nil
}
