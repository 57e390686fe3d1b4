package proposals

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
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
	Reviews     bool     // reviews are wanted; without it they count only for what their givers own
	Owners      []string // that rules name: teams, and @ with a person's name

	// Upstream is the branch from which aplomb itself proposes, whose authors'
	// word on that does not count either; "": there is none.
	Upstream string

	// UpstreamAsked says whether somebody asked for a proposal there; nil: nobody
	// can.
	UpstreamAsked func(head, branch, by string) bool

	// Others are the books of the other environments here that make proposals, by
	// name, nil where one does not run: who asked one of them for a proposal does
	// not agree to it in this one either. nil: there are none.
	Others func() map[string]*Book

	// Since are the revisions that came with a revision in force after an older
	// one, itself included.
	Since func(ctx context.Context, older, newer sources.Revision) ([]sources.Revision, error)
	// Approve records a yes; see reconciler.Reviewed.
	Approve func(context.Context, gate.Approval) error
	// Heard says that a yes that was recorded is still said; nil: nobody wants to
	// know. See reconciler.Heard.
	Heard func(by, digest, why string)
	// Looked hears how each look at the reviews went, and nil where one went wrong
	// and none is needed any more; nil: nobody does.
	Looked func(error)
	// WasShown tells what stood on a merged proposal; nil: nobody wants to know.
	WasShown func(proposal string, at time.Time, shown []plan.Masked)

	Status func() reconciler.Status
	Wait   func(context.Context, func(reconciler.Status) bool) (reconciler.Status, error)

	Interval time.Duration // between two looks while something is held; zero: DefaultInterval
	Log      logrus.FieldLogger

	made sync.Once
	kick chan struct{}

	rolls map[string][]forge.Account // members by team, as this look found them
	wrote []forge.Account            // what came from Upstream, likewise
	lower []forge.Proposal           // that it came by there
	many  bool                       // more came at once than was looked at: others may have written, too

	told map[string]bool // what the log says already, by commit
}

// Run approves until ctx ends.
func (a *Approver) Run(ctx context.Context) {
	interval := a.Interval
	if interval == 0 {
		interval = DefaultInterval
	}
	var wrong grumble
	for ctx.Err() == nil {
		s := a.Status()
		if !wantsPeople(s) {
			if wrong.last != "" {
				a.looked(&wrong, nil)
			}
			if wordsDone(s) || a.Book.lastSettled().ID == "" && begins(s) {
				if err := a.Book.settle(s.Revision); err != nil {
					a.Log.WithError(err).WithField("env", a.Environment).Warn("after a restart older reviews are read again")
				}
			}
			if _, err := a.Wait(ctx, func(n reconciler.Status) bool { return n.Seq != s.Seq }); err != nil {
				return
			}
			continue
		}
		wait := interval
		if err := a.look(ctx, a.Book.lastSettled(), s.Revision); ctx.Err() == nil {
			a.looked(&wrong, err)
			if at := time.Until(forge.RetryAt(err)); at > wait {
				wait = at
			}
		}
		a.rest(ctx, s, wait)
	}
}

// looked tells how a look went.
func (a *Approver) looked(wrong *grumble, err error) {
	wrong.about(a.Log.WithField("env", a.Environment), err, "reviews cannot be read: what is held stays so")
	if a.Looked != nil {
		a.Looked(err)
	}
}

// wantsPeople says whether something is held that does not merely wait for its
// time.
func wantsPeople(s reconciler.Status) bool {
	return s.Counts[reconciler.Held] > 0 && slices.ContainsFunc(s.Resources, func(r reconciler.ResourceStatus) bool {
		return r.State == reconciler.Held && !r.Timed
	})
}

// begins says whether a book that knows of no revision yet can begin with this
// one: nothing that came up to it was shown.
func begins(s reconciler.Status) bool {
	return s.Settled && s.Revision.ID != "" && s.Counts[reconciler.Held] == 0
}

// wordsDone says whether the words on what came up to the revision in force have
// done what they could: all of it runs. What waits for a person, a need or an
// engine asks for them later, and may have been reviewed long before.
func wordsDone(s reconciler.Status) bool {
	return s.Settled && !s.Down && s.Revision.ID != "" && s.Counts[reconciler.Converged]+s.Counts[reconciler.Drifted] == len(s.Resources)
}

// Kick says that somebody may have said something. It does not wait; safe for
// concurrent use.
func (a *Approver) Kick() {
	select {
	case a.kicks() <- struct{}{}:
	default:
	}
}

func (a *Approver) kicks() chan struct{} {
	a.made.Do(func() { a.kick = make(chan struct{}, 1) })
	return a.kick
}

// apart is the least time between two looks that nobody asked for: while much
// runs beside what is held the status changes all the time.
const apart = 2 * time.Second

// rest waits until somebody may have said something, the status has changed, or
// for a while.
func (a *Approver) rest(ctx context.Context, s reconciler.Status, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	kicked := make(chan struct{})
	defer func() { cancel(); <-kicked }()
	go func() {
		defer close(kicked)
		select {
		case <-a.kicks():
			cancel()
		case <-ctx.Done():
		}
	}()
	timer := time.NewTimer(min(apart, d))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	_, _ = a.Wait(ctx, func(n reconciler.Status) bool { return n.Seq != s.Seq }) // that time is over is no error
}

// look counts the words on the proposals that came with the revision in force.
func (a *Approver) look(ctx context.Context, last, rev sources.Revision) error {
	came, err := a.Since(ctx, last, rev)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	a.rolls, a.many = map[string][]forge.Account{}, len(came) >= git.MaxSince
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
	a.wrote, a.lower = nil, nil
	if a.Upstream == "" {
		return nil
	}
	for _, r := range came {
		merged, err := a.Forge.Origin(ctx, a.Upstream, r.ID)
		if err != nil {
			return err
		}
		for _, p := range merged {
			a.wrote, a.lower = append(a.wrote, p.Author), append(a.lower, p)
		}
	}
	return nil
}

// proposal counts the words on one merged proposal.
func (a *Approver) proposal(ctx context.Context, p forge.Proposal) error {
	first := a.Book.first(p.Head)
	if first.IsZero() {
		a.once(p, "a merged proposal was never planned at its last commit: its reviews approve nothing")
		return nil
	}
	if why := a.anybodys(p); why != "" {
		a.once(p, why+": its reviews approve nothing, since its author could be who reviews")
		return nil
	}
	if last, ok := a.Book.seen(p.Head, time.Now()); ok && a.WasShown != nil {
		a.WasShown(p.ID, last.At, last.Shown)
	}
	reviews, err := a.Forge.Reviews(ctx, p)
	if err != nil {
		return err
	}
	for _, r := range reviews {
		if r.Verdict != forge.Approved || r.Commit != p.Head {
			continue // no yes, or not to this very commit
		}
		w := yes{by: r.Author, at: r.At, via: reconciler.MeansReview, why: "review of " + p.ID}
		if err := a.count(ctx, p, w); err != nil {
			return err
		}
	}
	comments, err := a.Forge.Comments(ctx, p, first)
	if err != nil {
		return err
	}
	for _, c := range comments {
		if c.Ours || c.Edited {
			continue
		}
		w := yes{by: c.Author, at: c.At, via: reconciler.MeansComment, why: cmp.Or(c.Means, "comment") + " on " + p.ID}
		if c.Means != "" {
			w.via = reconciler.MeansSigned
		}
		for _, m := range approveRE.FindAllStringSubmatch(c.Body, mostLines) {
			w.digest = m[1]
			if err := a.count(ctx, p, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// once says something of a proposal once for each last commit of it: it is
// looked at again and again.
func (a *Approver) once(p forge.Proposal, what string) {
	if a.told == nil {
		a.told = map[string]bool{}
	}
	if key := p.Head + " " + what; !a.told[key] {
		a.told[key] = true
		a.Log.WithFields(logrus.Fields{"env": a.Environment, "proposal": p.ID}).Warn(what)
	}
}

// yes is a word of somebody who agrees.
type yes struct {
	by     forge.Account
	at     time.Time // zero: nobody can tell
	digest string    // the beginning of the one that was named, if any
	via    reconciler.Means
	why    string
}

// count records a word, if it counts, for what stood there when it was given.
func (a *Approver) count(ctx context.Context, p forge.Proposal, w yes) error {
	if slices.ContainsFunc(a.wrote, func(author forge.Account) bool { return author.ID == "" }) {
		return nil // nobody knows who that was, so anybody may be
	}
	wrote := slices.ContainsFunc(append(slices.Clip(a.wrote), p.Author), func(author forge.Account) bool { return w.by.Is(author.Name) })
	if wrote || a.asked(p, w.by.Name) {
		return nil // nobody agrees with themselves, whichever the door
	}
	shown, ok := a.Book.seen(p.Head, w.at)
	if w.at.IsZero() { // nobody can tell when: whoever names a plan has seen it
		shown, ok = a.Book.named(p.Head, w.digest)
	}
	if !ok || !strings.HasPrefix(shown.Digest, w.digest) {
		return nil // given before there was a plan to see, or to another one
	}
	if w.digest != "" && !w.at.IsZero() && a.Book.ambiguous(w.digest, shown.Digest) {
		a.once(p, w.why+" by "+w.by.Name+" names several plans: it approves none; let it give more digits")
		return nil
	}
	counts, speaks, err := a.entitled(ctx, w)
	if err != nil || !counts && len(speaks) == 0 {
		return err
	}
	key := strings.Join([]string{p.ID, shown.Digest, w.by.Name, w.why}, " ")
	news, err := a.Book.count(key)
	if err == nil && !news && a.Heard != nil {
		a.Heard(w.by.Name, shown.Digest, w.why) // it lets nothing run that it has not yet let
	}
	if err != nil || !news {
		return err
	}
	// Counted first: a crash between the two costs a question. The other way
	// round it could approve again what was used up.
	approval := gate.Approval{By: w.by.Name, ID: shown.Digest, Why: w.why, Changes: shown.Shown, Speaks: speaks, OwnersOnly: !counts}
	if err := a.Approve(reconciler.WithMeans(ctx, w.via), approval); err != nil {
		return errors.Join(err, a.Book.uncount(key))
	}
	return nil
}

// mostLines bounds how many approvals one comment holds: an environment each.
const mostLines = 100

// approveRE is the line with which a comment approves.
var approveRE = regexp.MustCompile(`(?m)^[ \t]*aplomb approve ([0-9a-f]{12,64})[ \t]*\r?$`)
