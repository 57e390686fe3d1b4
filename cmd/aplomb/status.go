package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// few is up to how many resources status lists all of them; of more it lists
// those that are not converged.
const few = 30

func (a *app) status() *cobra.Command {
	var watch, all bool
	c := &cobra.Command{
		Use:   "status",
		Short: "What is converged, progressing, held, drifted, degraded; exit 3 if not all is converged",
		Args:  args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runStatus(cmd.Context(), watch, all)
		},
	}
	a.client(c)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show every change")
	c.Flags().BoolVar(&all, "all", false, "list what is converged too, however many there are")
	return c
}

func (a *app) runStatus(ctx context.Context, watch, all bool) (err error) {
	s, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if watch {
		return ended(ctx, a.watchStatus(ctx, s, all))
	}
	st, err := s.current()
	if err != nil {
		return err
	}
	a.warnConfiguration(s.info)
	if done, err := a.json(st); err != nil {
		return err
	} else if !done {
		a.out.Status(st, all || len(st.Resources) <= few)
	}
	if !st.Converged {
		return told{errNotConverged}
	}
	return nil
}

// look is a session that knows how things are: the daemon's, or one that has
// looked at everything and writes nothing.
func (a *app) look(ctx context.Context) (*session, error) {
	s, err := a.askOrOpen(ctx, opening{readOnly: true, once: true})
	if err != nil || s.daemon {
		return s, err
	}
	within, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	if _, err := s.Wait(within, func(st reconciler.Status) bool { return st.Settled || looked(st) && !st.Source.OK }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// watchStatus shows the status again with every change, in place on a
// terminal, one JSON document a line with -o json.
func (a *app) watchStatus(ctx context.Context, s *session, all bool) error {
	if !s.daemon {
		return hinted{api.ErrNotRunning, "start one with: aplomb up"}
	}
	screen := a.out.Screen()
	first, seq := true, uint64(0)
	for {
		st, err := s.Wait(ctx, func(st reconciler.Status) bool { return first || st.Seq != seq })
		if err != nil {
			return err
		}
		first, seq = false, st.Seq
		if a.format == formatJSON {
			err = a.jsonLine(st)
		} else {
			screen.Status(st, all || len(st.Resources) <= few)
			err = a.out.Err()
		}
		if err != nil {
			return err
		}
	}
}
