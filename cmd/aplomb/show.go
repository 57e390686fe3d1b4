package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// resource reads KIND/NAME or KIND/NAME@TARGET.
func resource(text string) (schema.ID, error) {
	id, err := schema.ParseID(text)
	if err != nil {
		return id, usage("KIND/NAME, such as local.process/web", "%w", err)
	}
	return id, nil
}

func (a *app) show() *cobra.Command {
	var logs bool
	var q api.LogsQuery
	instance := -1
	c := &cobra.Command{
		Use:   "show KIND/NAME | TEMPLATE/NAME",
		Short: "Declaration, live state, difference and events of one resource, or its logs; what a use of a template yielded",
		Args:  args(1, 1, "one KIND/NAME or TEMPLATE/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if q.ID, err = resource(args[0]); err != nil {
				return err
			}
			if !logs && (q.Follow || instance >= 0 || cmd.Flags().Changed("lines")) {
				return usage("add --logs", "-f, -n and --instance are about logs")
			}
			if q.Lines < 0 {
				return usage("-n 100", "-n is negative")
			}
			if instance >= 0 {
				q.Instance = &instance
			}
			return a.runShow(cmd.Context(), logs, q)
		},
	}
	f := a.client(c).Flags()
	f.BoolVar(&logs, "logs", false, "what its processes wrote")
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with what they write from now on")
	f.IntVarP(&q.Lines, "lines", "n", 100, "how many lines of what they wrote before")
	f.IntVar(&instance, "instance", -1, "only this instance, counted from 0")
	return c
}

func (a *app) runShow(ctx context.Context, logs bool, q api.LogsQuery) (err error) {
	open := a.look
	if logs {
		open = func(ctx context.Context) (*session, error) {
			return a.askOrOpen(ctx, opening{readOnly: true, idle: true})
		}
	}
	s, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if logs && s.logs == nil {
		return hinted{fmt.Errorf("logs of %s: %w", q.ID.Short(), api.ErrNotServed), "only local.process has logs"}
	}
	if logs {
		q.JSON = a.format == formatJSON
		return ended(ctx, s.logs(ctx, q, a.logWriter()))
	}
	if !strings.Contains(q.ID.Kind, ".") {
		return a.showUse(s, q.ID)
	}
	d, err := s.Show(q.ID)
	if err != nil {
		return a.unknown(s, q.ID, err)
	}
	if done, err := a.json(d); done {
		return err
	}
	a.out.Show(d)
	return nil
}

// logWriter is standard output; on a terminal what processes write cannot move
// the cursor.
func (a *app) logWriter() io.Writer {
	if a.out.Terminal {
		return terminal.LogWriter(a.stdout)
	}
	return a.stdout
}

// unknown says what was probably meant.
func (a *app) unknown(s *session, id schema.ID, err error) error {
	if !errors.Is(err, reconciler.ErrUnknown) || api.HintOf(err) != "" {
		return err
	}
	hint := "aplomb status --all lists what there is"
	st, serr := s.current()
	if serr != nil {
		return err
	}
	names := make([]string, 0, len(st.Resources))
	for _, r := range st.Resources {
		names = append(names, r.ID.Short())
	}
	if meant := schema.Closest(id.Short(), names); meant != "" {
		hint = fmt.Sprintf("did you mean %s?", meant)
	}
	return hinted{err, hint}
}

func (a *app) graph() *cobra.Command {
	c := &cobra.Command{
		Use:   "graph",
		Short: "The order of things, as text, DOT, Mermaid or JSON (-o)",
		Args:  args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			g := s.Graph()
			if err := s.err(); err != nil {
				return err
			}
			switch a.format {
			case formatDOT:
				a.out.DOT(g)
			case formatMermaid:
				a.out.Mermaid(g)
			case formatJSON:
				_, err = a.json(g)
			default:
				a.out.Graph(g)
			}
			return err
		},
	}
	c.Flags().StringVarP(&a.format, "output", "o", formatText, "text, json, dot or mermaid")
	return a.client(c)
}

func (a *app) history() *cobra.Command {
	return records(a, "history", "What was applied, and what became of each revision; newest first",
		reconciler.Control.History, func(p *terminal.Printer, rs []reconciler.Record) { p.History(rs) })
}

// records is a command that lists what the store keeps.
func records[T any](a *app, name, short string, read func(reconciler.Control, context.Context, int) ([]T, error), print func(*terminal.Printer, []T)) *cobra.Command {
	limit := 30
	c := &cobra.Command{
		Use: name, Short: short, Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if limit < 1 || limit > api.MaxLimit {
				return usage("-n 30", "-n is not a number from 1 to %d", api.MaxLimit)
			}
			s, err := a.askOrOpen(cmd.Context(), opening{readOnly: true, idle: true})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			all, err := read(s.Control, cmd.Context(), limit)
			if err != nil {
				return err
			}
			if all == nil {
				all = []T{}
			}
			if done, err := a.json(all); done {
				return err
			}
			print(a.out, all)
			return nil
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", limit, "how many at most")
	return a.client(c)
}
