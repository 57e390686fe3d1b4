package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/proposals"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/gitea"
	"github.com/aplomb-dev/aplomb/sources/forge/github"
	"github.com/aplomb-dev/aplomb/sources/forge/gitlab"
	"github.com/aplomb-dev/aplomb/sources/git"
	"github.com/aplomb-dev/aplomb/sources/webhook"
)

// bookFile is what was shown on proposals, in a data folder.
const bookFile = "proposals.json"

// proposalTime bounds one plan of a proposal.
const proposalTime = 10 * time.Minute

// office is what an environment of the daemon does on its forge: it plans
// proposals, counts reviews, and says on commits what became of them.
type office struct {
	desk     *proposals.Desk     // nil: no comments are wanted
	approver *proposals.Approver // nil: no reviews are
	teller   *proposals.Teller   // nil: no commit statuses are
	hook     http.Handler        // nil: the forge does not call
}

// newForge opens a forge; nobody is asked yet.
func newForge(f config.Forge) (forge.Forge, error) {
	switch f.Kind {
	case "github":
		c := github.Config{URL: f.URL, Repository: f.Repository, TokenFile: f.TokenFile, CAFile: f.CAFile}
		if f.App != nil {
			c.App = &github.App{ID: f.App.ID, Installation: f.App.Installation, KeyFile: f.App.KeyFile}
		}
		return github.New(c)
	case "gitlab":
		return gitlab.New(gitlab.Config{URL: f.URL, Project: f.Repository, TokenFile: f.TokenFile, CAFile: f.CAFile})
	case "gitea":
		return gitea.New(gitea.Config{URL: f.URL, Repository: f.Repository, TokenFile: f.TokenFile, CAFile: f.CAFile})
	}
	return nil, fmt.Errorf("forge: %q is none that is known", f.Kind)
}

// newOffice makes what an environment does on its forge; nil where it has none.
func newOffice(f *folder, e config.Environment, r *reconciler.Reconciler, src sources.Source, reg *drivers.Registry, log logrus.FieldLogger) (*office, error) {
	if e.Forge == nil {
		return nil, nil
	}
	repo, ok := src.(*git.Source)
	if !ok {
		return nil, fmt.Errorf("forge: environment %s follows no repository", e.Name)
	}
	fg, err := newForge(*e.Forge)
	if err != nil {
		return nil, err
	}
	book, err := proposals.OpenBook(f.join(bookFile))
	if err != nil {
		return nil, hinted{err, "put the file away: what was shown before is then asked for again"}
	}
	o := &office{}
	interval := time.Duration(e.Forge.Interval)
	if e.Status.Comment {
		planned, without, err := withoutRights(reg, e.Targets, log)
		if err != nil {
			return nil, err
		}
		o.desk = &proposals.Desk{
			Environment: e.Name, Branch: e.Source.Branch, Forge: fg, Source: repo, Book: book, Unplanned: without,
			Drafts: e.Forge.Drafts, Forks: e.Forge.Forks, Interval: interval, Log: log,
			Plan: func(ctx context.Context, s *sources.Snapshot) (reconciler.Proposed, error) {
				ctx, cancel := context.WithTimeout(ctx, proposalTime)
				defer cancel()
				return r.Propose(ctx, s, planned)
			},
		}
		if e.Gates.Reviews > 0 {
			o.approver = &proposals.Approver{
				Environment: e.Name, Branch: e.Source.Branch, Forge: fg, Book: book, Teams: e.Gates.Reviewers, Since: repo.Since,
				Approve: r.Reviewed, Status: r.Status, Wait: r.Wait, Interval: interval, Log: log,
			}
		}
	}
	if e.Forge.Webhook != "" {
		o.hook = &webhook.Hook{
			Forge: webhook.Forge(e.Forge.Kind), SecretFile: e.Forge.Webhook, Repositories: []string{e.Source.Git}, Log: log,
			Kick: func(string) { r.Kick(); o.kick() },
		}
	}
	if e.Status.CommitStatus {
		o.teller = &proposals.Teller{Environment: e.Name, Forge: fg, Status: r.Status, Wait: r.Wait, Log: log}
	}
	return o, nil
}

// run works until ctx ends.
func (o *office) run(ctx context.Context) {
	if o == nil {
		return
	}
	var all sync.WaitGroup
	if o.desk != nil {
		all.Go(func() { o.desk.Run(ctx) })
	}
	if o.approver != nil {
		all.Go(func() { o.approver.Run(ctx) })
	}
	if o.teller != nil {
		all.Go(func() { o.teller.Run(ctx) })
	}
	all.Wait()
}

// kick has proposals looked at now.
func (o *office) kick() {
	if o.desk != nil {
		o.desk.Kick()
	}
}
