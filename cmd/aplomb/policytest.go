package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/schema/policy"
)

// errCases is the end of policy test where a case did not come out as it says.
var errCases = errors.New("not every case came out as it says")

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Work on policies: aplomb policy test",
		Args:  args(0, 0, "a command: test"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "test [DIR]",
		Short: "Try the cases beside policies, passing and failing, and tell what no case tries",
		Long: `Tries the cases that stand beside the policies below DIR, in files that end in
_test.cue, of the same package:

    cases: noLatest: pass: digest:   resource: {kind: "nomad.job", spec: …}
    cases: noLatest: fail: untagged: resource: {kind: "nomad.job", spec: …}

A case has what the policy judges: resource, change or plan; environment may be
said. One that is to fail may say, in says, a part of what the policy tells.`,
		Args: args(0, 1, "at most one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return a.runPolicyTest(cmd.Context(), dir)
		},
	})
	return c
}

func (a *app) runPolicyTest(ctx context.Context, dir string) (err error) {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir():
		return hinted{fmt.Errorf("policy test %s: %w", dir, errNoPath), "name the folder that holds the policies"}
	case err != nil:
		return fmt.Errorf("policy test: %w", err)
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	closers := &closers{}
	defer func() { err = errors.Join(err, closers.Close()) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("policy test: %w", err)
	}
	closers.add(root.Close)
	report, err := policy.New(policy.Options{Workers: workers(quiet, closers), Log: quiet}).Test(ctx, root.FS())
	if err != nil {
		return fmt.Errorf("policy test %s: %w", dir, err)
	}
	if done, err := a.json(report); err != nil {
		return err
	} else if !done {
		a.out.PolicyTest(report)
	}
	if !report.Good() {
		return told{errCases}
	}
	return nil
}
