package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/proposals"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/gitea"
	"github.com/aplomb-dev/aplomb/sources/forge/github"
	"github.com/aplomb-dev/aplomb/sources/forge/gitlab"
	"github.com/aplomb-dev/aplomb/sources/forge/plain"
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
	approver *proposals.Approver // likewise: whoever saw nothing agrees to nothing
	teller   *proposals.Teller   // nil: no commit statuses are
	reverter *proposals.Reverter // nil: nothing is proposed to be undone
	promoter *proposals.Promoter // nil: no other environment is followed
	hook     http.Handler        // nil: the forge does not call

	forge forge.Forge
	book  *proposals.Book
	log   logrus.FieldLogger
}

// newForge opens the forge of an environment; nobody is asked yet.
func newForge(e config.Environment, repo *git.Source, s *session) (forge.Forge, error) {
	if e.Forge.Kind == config.PlainGit {
		return newPlain(e, repo, s)
	}
	f, err := newClient(*e.Forge)
	if err != nil {
		return nil, err
	}
	return forge.Guard(f), nil
}

// newClient is the client of a forge that has an API.
func newClient(f config.Forge) (forge.Forge, error) {
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

// newPlain is a repository on a server without a forge.
func newPlain(e config.Environment, repo *git.Source, s *session) (forge.Forge, error) {
	pages, ok := s.reporter.(*git.Reporter)
	if !ok {
		return nil, fmt.Errorf("forge: environment %s writes nothing to its repository", e.Name)
	}
	return plain.New(plain.Config{
		Environment: e.Name, Repository: e.Source.Git, Prefix: e.Forge.Prefix, Own: git.BranchPrefix, Signers: e.Forge.Signers,
		Git: repo, Pages: pages, Log: s.log,
	})
}

// newOffice makes what an environment does on its forge; nil where it has none.
func newOffice(f *folder, e config.Environment, r *reconciler.Reconciler, s *session) (*office, error) {
	if e.Forge == nil {
		return nil, nil
	}
	repo, ok := s.source.(*git.Source)
	if !ok {
		return nil, fmt.Errorf("forge: environment %s follows no repository", e.Name)
	}
	fg, err := newForge(e, repo, s)
	if err != nil {
		return nil, err
	}
	book, err := proposals.OpenBook(f.join(bookFile))
	if err != nil {
		return nil, hinted{err, "put the file away: what was shown before is then asked for again"}
	}
	o, log := &office{forge: fg, book: book, log: s.log}, s.log
	interval := time.Duration(e.Forge.Interval)
	if e.Status.Comment {
		planned, without, err := withoutRights(s.registry, e.Targets, log)
		if err != nil {
			return nil, err
		}
		o.desk = &proposals.Desk{
			Environment: e.Name, Branch: e.Source.Branch, Forge: fg, Source: repo, Book: book, Unplanned: without, Signed: e.Gates.Signed,
			Path: e.Source.Path, Drafts: e.Forge.Drafts, Forks: e.Forge.Forks, Interval: interval, Log: log,
			Looked: func(err error) { r.ForgeSeen(reconciler.LookProposals, err) }, Basis: r.Basis, Wait: r.Wait,
			Plan: func(ctx context.Context, s *sources.Snapshot) (reconciler.Proposed, error) {
				ctx, cancel := context.WithTimeout(ctx, proposalTime)
				defer cancel()
				return r.Propose(ctx, s, planned)
			},
		}
		if pages, ok := s.reporter.(*git.Reporter); ok && e.Forge.Kind != config.PlainGit {
			o.desk.Pages, o.desk.PagesBranch, o.desk.PagesFolder = pages, e.Status.Branch, git.PagesFolder
		}
		o.approver = &proposals.Approver{
			Environment: e.Name, Branch: e.Source.Branch, Forge: fg, Book: book, Since: repo.Since,
			Teams: e.Gates.Reviewers, Reviews: e.Gates.Reviews > 0, Owners: e.Gates.Owners.All(),
			Approve: r.Reviewed, Heard: r.Heard, WasShown: r.WasShown, Looked: func(err error) { r.ForgeSeen(reconciler.LookReviews, err) },
			Status: r.Status, Wait: r.Wait, Interval: interval, Log: log,
		}
	}
	if e.Forge.Webhook != "" {
		o.hook = &webhook.Hook{
			Forge: webhook.Forge(e.Forge.Kind), SecretFile: e.Forge.Webhook, Repositories: called(e), Log: log,
			Kick: func(string) { r.Kick(); o.kick() },
		}
	}
	if e.Status.CommitStatus {
		o.teller = &proposals.Teller{Environment: e.Name, Forge: fg, Status: r.Status, Wait: r.Wait, Book: book, Log: log}
	}
	return o, nil
}

// called are the names by which a forge may call an environment's repository:
// where it is followed, and where the forge has it, which may be another host.
func called(e config.Environment) []string {
	url := e.Forge.URL
	if url == "" {
		url = map[string]string{"github": "https://github.com", "gitlab": "https://gitlab.com"}[e.Forge.Kind]
	}
	return []string{e.Source.Git, strings.TrimRight(url, "/") + "/" + e.Forge.Repository}
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
	if o.reverter != nil {
		all.Go(func() { o.reverter.Run(ctx) })
	}
	if o.promoter != nil {
		all.Go(func() { o.promoter.Run(ctx) })
	}
	all.Wait()
}

// kick has proposals, and what is said on them, looked at now.
func (o *office) kick() {
	if o.desk != nil {
		o.desk.Kick()
		o.approver.Kick()
	}
}
