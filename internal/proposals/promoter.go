package proposals

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// Followed is a repository as an environment follows it, and as promotion
// needs it.
type Followed interface {
	Writer
	sources.Merger
	Head(ctx context.Context) (sources.Revision, error)
	Contains(ctx context.Context, descendant, ancestor sources.Revision) (bool, error)
	Read(ctx context.Context, rev sources.Revision) (*sources.Snapshot, error)
	Below() string
}

// Upstream is the environment that another one follows.
type Upstream struct {
	Source Followed
	Status func() reconciler.Status
	Book   *Book // nil: nothing is proposed there
}

// Promoter proposes to one environment what has been well for a while in
// another: the commit itself where they follow two branches, a copy of the named
// files where they follow one. There is one branch and one proposal for it,
// moved on with each newer revision. What was proposed once is not proposed
// again: who closes it has said no.
type Promoter struct {
	Environment string
	Branch      string // that is followed
	After       string // the other environment
	Healthy     time.Duration
	Files       []schema.Glob // none: the commit itself

	Forge    forge.Forge
	Source   Followed
	Upstream func() (Upstream, bool) // false: it does not run
	Book     *Book
	Interval time.Duration // between two looks; zero: DefaultInterval
	Log      logrus.FieldLogger
}

// Run proposes until ctx ends.
func (p *Promoter) Run(ctx context.Context) {
	interval := p.Interval
	if interval == 0 {
		interval = DefaultInterval
	}
	var wrong grumble
	for {
		wait := interval + rand.N(interval/5+1)
		if err := p.look(ctx, time.Now()); ctx.Err() == nil {
			wrong.about(p.Log.WithFields(logrus.Fields{"env": p.Environment, "after": p.After}), err, "a promotion could not be proposed; it is proposed again")
			if at := time.Until(forge.RetryAt(err)); at > wait {
				wait = at
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// promotion is what is proposed.
type promotion struct {
	from, onto sources.Revision
	since      time.Time
	commits    []sources.Revision
	files      []git.Edit
	left       []string // links, which are not copied
	conflicts  []string
}

// look proposes the revision that has been well for long enough, where that was
// not done yet.
func (p *Promoter) look(ctx context.Context, now time.Time) error {
	up, ok := p.Upstream()
	if !ok {
		return nil
	}
	s := up.Status()
	if !s.Converged || s.Rollback != nil || s.WellSince.IsZero() || now.Sub(s.WellSince) < p.Healthy {
		return nil
	}
	key := "promote " + s.Revision.ID
	if len(p.Files) > 0 {
		key = "promote " + s.Revision.Tree
	}
	if p.Book.knows(key) {
		return nil
	}
	onto, err := p.Source.Head(ctx)
	if err != nil {
		return err
	}
	it := &promotion{from: s.Revision, onto: onto, since: s.WellSince}
	bring := p.commit
	if len(p.Files) > 0 {
		bring = p.copy
	}
	if there, err := bring(ctx, up, it); err != nil || !there {
		return err
	}
	title := fmt.Sprintf("Promote %s from %s to %s", s.Revision.Short(), p.After, p.Environment)
	opened, err := p.Forge.Open(ctx, forge.Draft{Branch: p.name(), Base: p.Branch, Title: title, Body: p.body()})
	if err != nil {
		return err
	}
	if err := p.Forge.Comment(ctx, opened, "promote/"+p.Environment, p.details(it)); err != nil {
		return err
	}
	_, err = p.Book.count(key)
	return err
}

func (p *Promoter) name() string { return git.BranchPrefix + "promote-" + p.Environment }

// commit makes the branch at the commit itself; false where nothing would come
// with it.
func (p *Promoter) commit(ctx context.Context, up Upstream, it *promotion) (bool, error) {
	has, err := p.Source.Contains(ctx, it.onto, it.from)
	if err != nil || has {
		return false, err
	}
	if it.from.Tree != "" && it.from.Tree == it.onto.Tree && up.Source.Below() == p.Source.Below() {
		return false, nil // it came there another way, such as squashed
	}
	head, err := up.Source.Branch(ctx, git.Branch{Name: p.name(), Base: it.from.ID})
	if err == nil {
		_, err = p.Book.count(made(head))
	}
	if err != nil {
		return false, err
	}
	merged, err := p.Source.Merge(ctx, "refs/heads/"+p.name(), it.from.ID)
	if err != nil {
		return false, err
	}
	if it.conflicts = merged.Conflicts; merged.Snapshot != nil {
		if err := merged.Snapshot.Close(); err != nil {
			return false, err
		}
	}
	it.commits, err = p.Source.Since(ctx, it.onto, it.from)
	return true, err
}

// copy makes the branch of the files that are to be copied; false where all are
// there as they are.
func (p *Promoter) copy(ctx context.Context, up Upstream, it *promotion) (_ bool, err error) {
	from, err := up.Source.Read(ctx, it.from)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := p.Source.Read(ctx, it.onto)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if it.files, it.left, err = copied(p.Files, from.FS, to.FS); err != nil || len(it.files) == 0 {
		return false, err
	}
	message := fmt.Sprintf("Promote %s from %s to %s", it.from.Short(), p.After, p.Environment)
	head, err := p.Source.Branch(ctx, git.Branch{Name: p.name(), Base: it.onto.ID, Edits: it.files, Message: message})
	if err == nil {
		_, err = p.Book.count(made(head))
	}
	return true, err
}

// body is what stays true of the proposal while its branch moves on.
func (p *Promoter) body() string {
	return fmt.Sprintf("**aplomb · %s** follows %s. What is proposed here has been converged there for %s; the comment says what it is, and is written anew when a newer revision takes its place.\n",
		forge.Escape(p.Environment), forge.Escape(p.After), reconciler.Span(p.Healthy))
}

// details are what is proposed now. Whatever comes from the repository is text.
func (p *Promoter) details(it *promotion) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "**aplomb · %s** — %s of %s, which has been converged since %s.\n\n", forge.Escape(p.Environment), forge.Code(it.from.Short()+" "+it.from.Title),
		forge.Escape(p.After), it.since.UTC().Format("2006-01-02 15:04 UTC"))
	if len(it.commits) > 0 {
		b.WriteString("It brings:\n\n")
		commits(&b, it.commits)
	}
	var files []string
	for _, e := range it.files {
		what := "copied: "
		if e.Delete {
			what = "deleted: "
		}
		files = append(files, what+e.Path)
	}
	list(&b, "Files:", files)
	list(&b, "Symbolic links are **not copied**:", it.left)
	list(&b, "**Conflicts**: both branches changed these files, so that a person has to merge:", it.conflicts)
	return b.String()
}
