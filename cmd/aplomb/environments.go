package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/api"
)

func (a *app) environments() *cobra.Command {
	c := &cobra.Command{
		Use:   "environments",
		Short: "The environments of the daemon, and how each does",
		Args:  args(0, 0, "no argument"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.runEnvironments(cmd.Context()) },
	}
	return a.client(c)
}

func (a *app) runEnvironments(ctx context.Context) error {
	d, info, err := a.reach(ctx, a.data)
	if err != nil {
		if errors.Is(err, api.ErrNotRunning) && a.server == "" {
			_, err = a.ask(ctx) // which says what is missing
		}
		return err
	}
	defer d.Close()
	all, err := d.Environments(ctx)
	if err != nil {
		return err
	}
	if done, err := a.json(all); done {
		return err
	}
	a.warnConfiguration(info)
	a.out.Environments(all)
	return nil
}

// warnConfiguration says that the configuration file holds another one than
// what is in force.
func (a *app) warnConfiguration(info api.Info) {
	if c := info.Configuration; c != nil && !c.OK && a.format == formatText {
		a.errs.Error(c.Path+" is refused, and what was in force stays so: "+c.Error, c.Hint)
	}
}
