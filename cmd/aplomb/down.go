package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

func (a *app) down() *cobra.Command {
	var why string
	var yes bool
	var also []string
	c := a.lever(&cobra.Command{
		Use:   "down",
		Short: "Delete, in reverse order, what this environment owns, after asking",
		Long: `Suspends the environment and deletes, in reverse order, what it owns. Things that
hold data, and held ones, are asked about one by one; without a terminal they
are deleted only where --also names them.`,
		Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ids := make([]schema.ID, 0, len(also))
			for _, text := range also {
				id, err := resource(text)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return a.runDown(cmd.Context(), yes, ids, why)
		},
	}, &why)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringArrayVar(&also, "also", nil, "delete this KIND/NAME although it holds data or is held")
	return c
}

func (a *app) runDown(ctx context.Context, yes bool, also []schema.ID, why string) (err error) {
	asks := a.asks()
	if !yes && !asks {
		return usage("aplomb down --yes", "down deletes everything that is owned, and there is no terminal to ask on")
	}
	s, err := a.askOrOpen(ctx, opening{once: true, idle: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	st, err := s.current()
	if err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(a.stdin, 1<<20))
	if !yes && !a.confirm(in, fmt.Sprintf("delete everything that environment %q owns?", st.Environment)) {
		return hinted{errors.New("nothing was changed"), ""}
	}
	s.run()
	for first := true; ; first = false {
		owned, err := a.owned(s, also, first)
		if err != nil {
			return err
		}
		if st, err = s.Down(ctx, person(), owned, why); err != nil {
			return fmt.Errorf("down: %w", err)
		}
		more := a.askAlso(in, st, asks && !yes, also)
		if len(more) == len(also) {
			break
		}
		also = more
	}
	return a.left(st)
}

// owned are those of ids that are owned still: what is gone needs no deleting.
func (a *app) owned(s *session, ids []schema.ID, tell bool) ([]schema.ID, error) {
	var left []schema.ID
	for _, id := range ids {
		_, err := s.Show(id)
		switch {
		case errors.Is(err, reconciler.ErrUnknown) && !tell:
		case errors.Is(err, reconciler.ErrUnknown):
			a.errs.Note(fmt.Sprintf("%s is not owned, or not any more", id.Short()))
		case err != nil:
			return nil, err
		default:
			left = append(left, id)
		}
	}
	return left, nil
}

// askAlso asks about each thing that is left because it holds data or is held.
func (a *app) askAlso(in *bufio.Reader, st reconciler.Status, asks bool, also []schema.ID) []schema.ID {
	if !asks {
		return also
	}
	for _, r := range st.Resources {
		asked := slices.Contains(also, r.ID) // a yes is asked for once
		if r.State == reconciler.Held && !asked && a.confirm(in, fmt.Sprintf("also delete %s (%s)?", r.ID.Short(), r.Reason)) {
			also = append(also, r.ID)
		}
	}
	return also
}

// left says what is left.
func (a *app) left(st reconciler.Status) error {
	if done, err := a.json(st); err != nil {
		return err
	} else if !done && len(st.Resources) == 0 {
		a.out.Note("down: nothing is owned any more")
	} else if !done {
		a.out.Note(fmt.Sprintf("down: %d left", len(st.Resources)))
		a.out.Status(st, true)
	}
	switch {
	case len(st.Resources) == 0:
		return nil
	case st.Counts[reconciler.Held] == len(st.Resources):
		return hinted{fmt.Errorf("%w to delete what is left", errHeld), "name each with --also KIND/NAME"}
	default:
		return told{errNotConverged}
	}
}

// asks says whether there is somebody to ask.
func (a *app) asks() bool {
	f, ok := a.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && a.out.Terminal && a.format == formatText
}

// confirm asks for a yes; anything else is a no.
func (a *app) confirm(in *bufio.Reader, question string) bool {
	a.out.Ask(question + " [y/N] ")
	line, err := in.ReadString('\n')
	if err != nil {
		return false
	}
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes"
}
