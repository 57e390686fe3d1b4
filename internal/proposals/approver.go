package proposals

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Approver turns the reviews of merged proposals, and the comments of people who
// may, into approvals of the very changes that were shown to them. All is read
// anew from the forge when it is needed: one that is out of reach means no, and
// the changes stay held.
type Approver struct {
	Environment string
	Branch      string // that is followed
	Forge       forge.Forge
	Book        *Book
	Teams       []string // whose members' word counts; none: that of everybody who may write

	// Upstream is the branch from which aplomb itself proposes, whose authors'
	// word on that does not count either; "": there is none.
	Upstream string

	// Since are the revisions that came with a revision in force after an older
	// one, itself included.
	Since func(ctx context.Context, older, newer sources.Revision) ([]sources.Revision, error)
	// Approve records a yes; see reconciler.Reviewed.
	Approve func(ctx context.Context, by, digest, why string, shown []plan.Masked) error
	Status  func() reconciler.Status
	Wait    func(context.Context, func(reconciler.Status) bool) (reconciler.Status, error)

	Interval time.Duration // between two looks while something is held; zero: DefaultInterval
	Log      logrus.FieldLogger

	wrote []forge.Account // what came from Upstream, as the last look found them
}

// Run approves until ctx ends.
func (a *Approver) Run(ctx context.Context) {
	interval := a.Interval
	if interval == 0 {
		interval = DefaultInterval
	}
	var last sources.Revision // whose reviews were all counted
	for ctx.Err() == nil {
		s := a.Status()
		if s.Counts[reconciler.Held] == 0 {
			if s.Settled && s.Revision.ID != "" {
				last = s.Revision
			}
			if _, err := a.Wait(ctx, func(n reconciler.Status) bool { return n.Seq != s.Seq }); err != nil {
				return
			}
			continue
		}
		wait := interval
		if err := a.look(ctx, last, s.Revision); err != nil && ctx.Err() == nil {
			a.Log.WithError(err).WithField("env", a.Environment).Warn("reviews cannot be read: what is held stays so")
			if at := time.Until(forge.RetryAt(err)); at > wait {
				wait = at
			}
		}
		a.rest(ctx, s, wait)
	}
}

// rest waits until the status has changed, or for a while.
func (a *Approver) rest(ctx context.Context, s reconciler.Status, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	_, _ = a.Wait(ctx, func(n reconciler.Status) bool { return n.Seq != s.Seq }) // that time is over is no error
}

// look counts the words on the proposals that came with the revision in force.
func (a *Approver) look(ctx context.Context, last, rev sources.Revision) error {
	came, err := a.Since(ctx, last, rev)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, r := range came {
		merged, err := a.Forge.Origin(ctx, a.Branch, r.ID)
		if err != nil {
			return err
		}
		for _, p := range merged {
			if seen[p.ID] {
				continue
			}
			if seen[p.ID] = true; len(seen) == 1 {
				if err := a.upstream(ctx, came); err != nil {
					return err
				}
			}
			if err := a.proposal(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// upstream finds the authors of what came by way of another branch: that aplomb
// proposed it to this one makes nobody else of them.
func (a *Approver) upstream(ctx context.Context, came []sources.Revision) error {
	a.wrote = nil
	if a.Upstream == "" {
		return nil
	}
	for _, r := range came {
		merged, err := a.Forge.Origin(ctx, a.Upstream, r.ID)
		if err != nil {
			return err
		}
		for _, p := range merged {
			a.wrote = append(a.wrote, p.Author)
		}
	}
	return nil
}

// proposal counts the words on one merged proposal.
func (a *Approver) proposal(ctx context.Context, p forge.Proposal) error {
	first := a.Book.first(p.Head)
	if first.IsZero() {
		a.Log.WithFields(logrus.Fields{"env": a.Environment, "proposal": p.ID}).Warn("a merged proposal was never planned at its last commit: its reviews approve nothing")
		return nil
	}
	reviews, err := a.Forge.Reviews(ctx, p)
	if err != nil {
		return err
	}
	for _, r := range reviews {
		if r.Verdict != forge.Approved || r.Commit != p.Head {
			continue // no yes, or not to this very commit
		}
		if err := a.word(ctx, p, r.Author, r.At, "", "review of "+p.ID); err != nil {
			return err
		}
	}
	comments, err := a.Forge.Comments(ctx, p, first)
	if err != nil {
		return err
	}
	for _, c := range comments {
		if m := approveRE.FindStringSubmatch(c.Body); m != nil && !c.Ours && !c.Edited {
			if err := a.word(ctx, p, c.Author, c.At, m[1], "comment on "+p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// word records a yes of somebody whose word counts, to what stood there when it
// was given. digest is the beginning of the one that was named, if any.
func (a *Approver) word(ctx context.Context, p forge.Proposal, who forge.Account, at time.Time, digest, why string) error {
	if who.Is(p.Author.Name) || slices.ContainsFunc(a.wrote, func(author forge.Account) bool { return who.Is(author.Name) }) {
		return nil // nobody agrees with themselves, whichever the door
	}
	shown, ok := a.Book.seen(p.Head, at)
	if !ok || !strings.HasPrefix(shown.Digest, digest) {
		return nil // given before there was a plan to see, or to another one
	}
	entitled, err := a.entitled(ctx, who)
	if err != nil || !entitled {
		return err
	}
	key := strings.Join([]string{p.ID, shown.Digest, who.Name, why}, " ")
	news, err := a.Book.count(key)
	if err != nil || !news {
		return err
	}
	// Counted first: a crash between the two costs a question. The other way
	// round it could approve again what was used up.
	if err := a.Approve(ctx, who.Name, shown.Digest, why, shown.Shown); err != nil {
		return errors.Join(err, a.Book.uncount(key))
	}
	return nil
}

// entitled says whether somebody's word counts.
func (a *Approver) entitled(ctx context.Context, who forge.Account) (bool, error) {
	if who.Bot || who.Name == "" {
		return false, nil
	}
	if len(a.Teams) == 0 {
		p, err := a.Forge.Permission(ctx, who.Name)
		return p >= forge.Write, err
	}
	for _, team := range a.Teams {
		members, err := a.Forge.Members(ctx, team)
		if err != nil && !errors.Is(err, forge.ErrGone) {
			return false, fmt.Errorf("team %s: %w", team, err)
		}
		for _, m := range members {
			if m.Is(who.Name) {
				return true, nil
			}
		}
	}
	return false, nil
}

// approveRE is the line with which a comment approves.
var approveRE = regexp.MustCompile(`(?m)^[ \t]*aplomb approve ([0-9a-f]{12,64})[ \t]*\r?$`)
