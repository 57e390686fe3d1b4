package proposals

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// Writer is a repository that branches can be proposed in.
type Writer interface {
	// Since are the revisions that newer contains and older does not.
	Since(ctx context.Context, older, newer sources.Revision) ([]sources.Revision, error)
	Branch(ctx context.Context, b git.Branch) (commit string, err error)
}

// Undoer is a Writer that knows how to undo.
type Undoer interface {
	Writer
	Undo(ctx context.Context, since, back sources.Revision) (git.Undone, error)
	Below() string // what is undone
}

// Reverter proposes to undo what came with a revision that was quarantined,
// once for each. What the forge does not take is proposed again until it does,
// or the quarantine is over.
type Reverter struct {
	Environment string
	Branch      string // that is followed
	Forge       forge.Forge
	Source      Undoer
	Book        *Book
	Status      func() reconciler.Status
	Wait        func(context.Context, func(reconciler.Status) bool) (reconciler.Status, error)
	Log         logrus.FieldLogger

	First, Most time.Duration // the waits after failures; zero: DefaultFirst, DefaultMost
}

// Run proposes until ctx ends.
func (r *Reverter) Run(ctx context.Context) {
	for tries := 0; ctx.Err() == nil; {
		s := r.Status()
		err := r.look(ctx, s.Rollback)
		if err == nil {
			tries = 0
			if _, err := r.Wait(ctx, func(n reconciler.Status) bool { return n.Seq != s.Seq }); err != nil {
				return
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		tries++
		r.Log.WithError(err).WithField("env", r.Environment).Warn("a revert could not be proposed; it is proposed again")
		rest(ctx, err, tries, r.First, r.Most)
	}
}

// look proposes what a quarantine asks for, where that was not done yet.
func (r *Reverter) look(ctx context.Context, q *reconciler.Rollback) error {
	if q == nil || len(q.Faults) == 0 {
		return nil // none, or a person's: they know what they do
	}
	key := "revert " + q.Quarantined.ID
	if r.Book.knows(key) {
		return nil
	}
	undone, err := r.Source.Undo(ctx, q.Quarantined, q.To)
	if err != nil {
		return err
	}
	came, err := r.Source.Since(ctx, q.To, q.Quarantined)
	if err != nil {
		return err
	}
	if len(undone.Edits) > 0 {
		if err := r.propose(ctx, q, undone, came); err != nil {
			return err
		}
	} else {
		r.Log.WithField("env", r.Environment).Warn("nothing of the quarantined revision can be undone by a commit")
	}
	_, err = r.Book.count(key) // after the fact: to open it again gives the one that is there
	return err
}

func (r *Reverter) propose(ctx context.Context, q *reconciler.Rollback, undone git.Undone, came []sources.Revision) error {
	title := fmt.Sprintf("Revert to %s: %s does not converge at %s", q.To.Short(), r.Environment, q.Quarantined.Short())
	name := git.BranchPrefix + "revert-" + r.Environment + "-" + q.Quarantined.Short()
	message := title + "\n\n" + strings.Join(q.Faults, "\n")
	commit, err := r.Source.Branch(ctx, git.Branch{Name: name, Base: q.Quarantined.ID, Edits: undone.Edits, Message: message})
	if err == nil {
		_, err = r.Book.count(made(commit))
	}
	if err != nil {
		return err
	}
	_, err = r.Forge.Open(ctx, forge.Draft{Branch: name, Base: r.Branch, Title: title, Body: r.body(q, undone, came)})
	return err
}

// body says why, and what is undone. Whatever comes from the repository or an
// engine is text.
func (r *Reverter) body(q *reconciler.Rollback, undone git.Undone, came []sources.Revision) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "**aplomb · %s** went back to %s at %s: %s did not converge in time.\n\n", forge.Escape(r.Environment), forge.Code(q.To.Short()),
		q.Lever.At.UTC().Format("2006-01-02 15:04 UTC"), forge.Code(q.Quarantined.Short()))
	list(&b, "What did not get well:", q.Faults)
	below := "everything"
	if p := r.Source.Below(); p != "" {
		below = "what lies below " + forge.Code(p)
	}
	_, _ = fmt.Fprintf(&b, "This brings %s back to what it was at %s, and nothing else. It undoes:\n\n", below, forge.Code(q.To.Short()))
	commits(&b, came)
	list(&b, "**Not undone**, since that takes a person:", undone.Left)
	b.WriteString("Merged, the environment goes on with it. A commit that mends it instead ends the quarantine as well.\n")
	return b.String()
}

// mostListed bounds what a proposal lists.
const mostListed = 50

// list writes texts, where there are any.
func list(b *strings.Builder, title string, all []string) {
	if len(all) == 0 {
		return
	}
	_, _ = fmt.Fprintf(b, "%s\n\n", title)
	for i, text := range all {
		if i == mostListed {
			_, _ = fmt.Fprintf(b, "- and %d more\n", len(all)-i)
			break
		}
		_, _ = fmt.Fprintf(b, "- %s\n", forge.Code(text))
	}
	b.WriteString("\n")
}

// commits writes revisions as a list.
func commits(b *strings.Builder, all []sources.Revision) {
	texts := make([]string, len(all))
	for i, rev := range all {
		texts[i] = rev.Short() + " " + rev.Title
	}
	for i, text := range texts {
		if i == mostListed {
			_, _ = fmt.Fprintf(b, "- and %d more\n", len(texts)-i)
			break
		}
		_, _ = fmt.Fprintf(b, "- %s\n", forge.Code(text))
	}
	b.WriteString("\n")
}
