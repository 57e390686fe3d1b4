package proposals

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// Setter proposes changes of single values that somebody asks for, such as a
// pipeline with a new image. Safe for concurrent use.
type Setter struct {
	Environment string
	Branch      string // that is followed
	Forge       forge.Forge
	Source      Repository
	Book        *Book
	Asked       func(ctx context.Context, by, subject, why string) error // keeps who asked, before anything is written

	mu sync.Mutex
}

// Repository is what a Setter reads and writes.
type Repository interface {
	sources.Merger
	Head(ctx context.Context) (sources.Revision, error)
	Read(ctx context.Context, rev sources.Revision) (*sources.Snapshot, error)
	Branch(ctx context.Context, b git.Branch) (commit string, err error)
}

// Wanted is what somebody asks for.
type Wanted struct {
	Subject string   // KIND/NAME
	Paths   []string // of the values that are set
	Title   string   // "": one of our own
	By, Why string

	// Edit makes the change in a tree of declarations.
	Edit func(context.Context, fs.FS) (Edited, error)
}

// Edited is one changed file.
type Edited struct {
	Path    string
	Data    []byte
	Changed bool
	Said    []string // which value became which, for people
}

// Set proposes what is wanted, unless it is so already, or proposed already:
// then nothing is written. For the same values of the same thing there is one
// proposal, which is moved on to what is wanted last. nil: it is so already.
func (s *Setter) Set(ctx context.Context, w Wanted) (*forge.Proposal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head, err := s.Source.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("the tip is needed to change something: %w", err)
	}
	snap, err := s.Source.Read(ctx, head)
	if err != nil {
		return nil, err
	}
	got, err := w.Edit(ctx, snap.FS)
	if err = errors.Join(err, snap.Close()); err != nil || !got.Changed {
		return nil, err
	}
	name := s.name(w)
	if p, err := s.proposed(ctx, name, w); p != nil || err != nil {
		return p, err
	}
	if err := s.Asked(ctx, w.By, w.Subject, w.Why); err != nil {
		return nil, err
	}
	if err := s.Book.note(asked(name, w.By)); err != nil {
		return nil, err
	}
	title := line(w.Title, mostTitle)
	if title == "" {
		title = line(fmt.Sprintf("Set %s of %s", strings.Join(w.Paths, ", "), w.Subject), mostTitle)
	}
	for i := range got.Said {
		got.Said[i] = line(got.Said[i], mostSaid)
	}
	message := title + "\n\n" + strings.Join(got.Said, "\n")
	commit, err := s.Source.Branch(ctx, git.Branch{Name: name, Base: head.ID, Edits: []git.Edit{{Path: got.Path, Data: got.Data}}, Message: message})
	if err == nil {
		_, err = s.Book.count(made(commit))
	}
	if err != nil {
		return nil, err
	}
	p, err := s.Forge.Open(ctx, forge.Draft{Branch: name, Base: s.Branch, Title: title, Body: s.body(w)})
	if err != nil {
		return nil, err
	}
	return &p, s.Forge.Comment(ctx, p, "set/"+s.Environment, s.details(w, got))
}

// Bounds of what is said, in letters.
const (
	mostTitle = 120
	mostSaid  = 300
)

// line is text of others on one line: it begins no other one of a commit's
// message.
func line(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
	return forge.Clip(strings.Join(strings.Fields(s), " "), most)
}

// name is the branch for the same values of the same thing.
func (s *Setter) name(w Wanted) string {
	paths := slices.Clone(w.Paths)
	slices.Sort(paths)
	sum := sha256.Sum256([]byte(strings.Join(append([]string{w.Subject}, paths...), "\n")))
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '-'
	}, w.Subject)
	return git.BranchPrefix + "set-" + s.Environment + "-" + plain + "-" + hex.EncodeToString(sum[:4])
}

// proposed is an open proposal that brings what is wanted already; nil: none
// does.
func (s *Setter) proposed(ctx context.Context, name string, w Wanted) (*forge.Proposal, error) {
	open, err := s.Forge.Proposals(ctx, s.Branch)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(open, func(p forge.Proposal) bool { return p.HeadBranch == name && !p.Fork })
	if i < 0 {
		return nil, nil
	}
	merged, err := s.Source.Merge(ctx, open[i].Ref, open[i].Head)
	if errors.Is(err, sources.ErrMoved) {
		return nil, nil
	}
	if err != nil || merged.Snapshot == nil {
		return nil, err
	}
	got, err := w.Edit(ctx, merged.Snapshot.FS)
	if closed := merged.Snapshot.Close(); closed != nil {
		return nil, closed
	}
	if err != nil || got.Changed {
		return nil, nil // it is made anew
	}
	return &open[i], nil
}

// body is what stays true of the proposal while its branch moves on.
func (s *Setter) body(w Wanted) string {
	return fmt.Sprintf("**aplomb · %s** was asked to set %s of %s. The comment says by whom, and to what; it is written anew, as the branch is, when another value is asked for.\n",
		forge.Escape(s.Environment), forge.Code(strings.Join(w.Paths, ", ")), forge.Code(w.Subject))
}

// details are what is proposed now. Whatever was asked for is text.
func (s *Setter) details(w Wanted, got Edited) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "**aplomb · %s** — asked for by %s.\n\n", forge.Escape(s.Environment), forge.Code(w.By))
	list(&b, "In "+forge.Code(got.Path)+":", got.Said)
	if w.Why != "" {
		_, _ = fmt.Fprintf(&b, "Why: %s\n", forge.Code(w.Why))
	}
	return b.String()
}

// made is how the book remembers the commits that this environment proposed.
func made(commit string) string { return "made " + commit }

// madeBy says whether a branch of this repository is one that an environment
// proposes by itself.
func madeBy(environment string, p forge.Proposal) bool {
	return !p.Fork && slices.ContainsFunc([]string{"set-", "revert-", "promote-"}, func(what string) bool {
		rest, ours := strings.CutPrefix(p.HeadBranch, git.BranchPrefix+what+environment)
		return ours && (rest == "" || rest[0] == '-')
	})
}

// asked is how the book remembers who asked for a proposal: it is theirs, whoever
// opened it.
func asked(branch, by string) string { return "asked " + branch + " " + strings.ToLower(by) }
