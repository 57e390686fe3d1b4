package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// lever is a command that a person's name and reason are kept of.
func (a *app) lever(c *cobra.Command, why *string) *cobra.Command {
	c.Flags().StringVar(why, "why", "", "the reason, for the audit")
	return a.client(c)
}

func (a *app) approve() *cobra.Command {
	var why string
	var overrides []string
	var outside bool
	c := a.lever(&cobra.Command{
		Use:   "approve DIGEST",
		Short: "Let held changes run: the pending plan's digest, or one change's (12 hex digits or more)",
		Args:  args(1, 1, "one DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			digest := strings.TrimSuffix(args[0], "…")
			if err := reconciler.CheckDigest(digest); err != nil {
				return usage("aplomb plan shows the digests of what is pending", "approve: %w", err)
			}
			yes := reconciler.Yes{Digest: digest, Why: why, Overrides: overrides, Outside: outside}
			if err := yes.CheckReason(); err != nil {
				return usage(hintOf(err), "approve: %w", err)
			}
			s, err := a.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			approved, err := s.Approve(cmd.Context(), person(), yes)
			if errors.Is(err, reconciler.ErrDigest) {
				return hinted{err, cmp.Or(hintOf(err), "look at what is pending now: aplomb plan")}
			}
			if err != nil {
				return err
			}
			if done, err := a.json(approved); done {
				return err
			}
			for _, c := range approved {
				a.out.Note(fmt.Sprintf("approved: %s %s", c.Action.Rune(), c.ID.Short()))
			}
			for _, c := range approved {
				if len(c.Still) > 0 {
					a.out.Note(fmt.Sprintf("still held: %s: %s", c.ID.Short(), strings.Join(c.Still, "; ")))
				}
			}
			return nil
		},
	}, &why)
	c.Flags().StringSliceVar(&overrides, "override", nil, "a soft-mandatory policy to override, by name; wants --reason")
	c.Flags().BoolVar(&outside, "outside-window", false, "let them run outside the windows and within freezes, too, in an incident; wants --why")
	c.Flags().StringVar(&why, "reason", "", "the same as --why")
	return c
}

func (a *app) suspend() *cobra.Command {
	var why string
	return a.lever(&cobra.Command{
		Use:   "suspend [KIND/NAME]",
		Short: "Freeze the environment or one resource: nothing is written until resume",
		Args:  args(0, 1, "at most one KIND/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.freeze(cmd.Context(), args, "suspended", func(ctx context.Context, s *session, id *schema.ID) error {
				return s.Suspend(ctx, person(), id, why)
			})
		},
	}, &why)
}

func (a *app) resume() *cobra.Command {
	var why string
	return a.lever(&cobra.Command{
		Use:   "resume [KIND/NAME]",
		Short: "End a suspension; what failed is tried again at once",
		Args:  args(0, 1, "at most one KIND/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.freeze(cmd.Context(), args, "resumed", func(ctx context.Context, s *session, id *schema.ID) error {
				return s.Resume(ctx, person(), id, why)
			})
		},
	}, &why)
}

// freeze pulls a lever on the environment or on one resource. Where no daemon
// runs, it is pulled in the data folder, for the next start.
func (a *app) freeze(ctx context.Context, args []string, word string, pull func(context.Context, *session, *schema.ID) error) (err error) {
	var id *schema.ID
	if len(args) > 0 {
		v, err := resource(args[0])
		if err != nil {
			return err
		}
		id = &v
	}
	s, err := a.askOrOpen(ctx, opening{idle: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := pull(ctx, s, id); err != nil {
		if id != nil {
			return a.unknown(s, *id, err)
		}
		return err
	}
	subject := "the environment"
	if id != nil {
		subject = id.String()
	}
	if done, err := a.json(map[string]string{word: subject}); done {
		return err
	}
	a.out.Note(word + ": " + subject)
	return nil
}

func (a *app) rollback() *cobra.Command {
	var why string
	return a.lever(&cobra.Command{
		Use:   "rollback [REVISION]",
		Short: "Follow a revision that converged before, until a newer commit arrives",
		Args:  args(0, 1, "at most one REVISION"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, err := a.ask(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			revision := ""
			if len(args) > 0 {
				revision = args[0]
			}
			r, err := s.Rollback(cmd.Context(), person(), revision, why)
			if errors.Is(err, reconciler.ErrNoRevision) {
				return hinted{err, "aplomb history lists which revisions have converged"}
			}
			if err != nil {
				return err
			}
			if done, err := a.json(r); done {
				return err
			}
			a.out.Note(fmt.Sprintf("rolled back: follows %s %q; %s is left alone until a newer commit", r.To.Short(), r.To.Title, r.Quarantined.Short()))
			return nil
		},
	}, &why)
}
