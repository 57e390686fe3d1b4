package proposals

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

const digest = "5e0c7a1f93b25e0c7a1f93b25e0c7a1f93b25e0c7a1f93b25e0c7a1f93b25e0c"

// counted looks once, and answers who approved what.
func counted(t *testing.T, a *Approver) ([]string, error) {
	t.Helper()
	var got []string
	a.Approve = func(ctx context.Context, by, digest, why string, shown []plan.Masked) error {
		if via := string(reconciler.MeansOf(ctx)); !strings.HasPrefix(why, via+" of ") && !strings.HasPrefix(why, via+" on ") {
			t.Errorf("%s: by way of %q", why, via)
		}
		got = append(got, by+" "+digest[:4]+" "+why+" "+shown[0].ID.Name)
		return nil
	}
	err := a.look(t.Context(), sources.Revision{}, sources.Revision{ID: "merge"})
	slices.Sort(got)
	return got, err
}

func approver(t *testing.T, p people) (*Approver, time.Time) {
	t.Helper()
	book, err := OpenBook(filepath.Join(t.TempDir(), "proposals.json"))
	if err != nil {
		t.Fatal(err)
	}
	shownAt := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	shown := []plan.Masked{{ID: schema.ID{Kind: "nomad.job", Name: "web"}}}
	for i, d := range []string{"00" + digest[2:], digest} {
		if err := book.write("head", page{Proposal: "7", Digest: d, Shown: shown, At: shownAt.Add(time.Duration(i) * time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	a := &Approver{Environment: "prod", Branch: "main", Forge: p, Book: book, Log: log,
		Since: func(_ context.Context, _, newer sources.Revision) ([]sources.Revision, error) {
			return []sources.Revision{newer}, nil
		}}
	return a, shownAt
}

// Whose word counts, and for what.
func TestApprover(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true, "eve": true, "dan": true, "old": true, "early": true}}
	a, at := approver(t, p)
	late := at.Add(2 * time.Hour)
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: who("eve")}}}
	p.reviews = map[string][]forge.Review{"7": {
		{Author: who("ana"), Verdict: forge.Approved, Commit: "head", At: late},
		{Author: who("old"), Verdict: forge.Approved, Commit: "head", At: at.Add(time.Minute)}, // saw the first plan
		{Author: who("early"), Verdict: forge.Approved, Commit: "head", At: at.Add(-time.Minute)},
		{Author: who("ben"), Verdict: forge.Approved, Commit: "before", At: late},
		{Author: who("Eve"), Verdict: forge.Approved, Commit: "head", At: late}, // the author
		{Author: who("dan"), Verdict: forge.Dismissed, Commit: "head", At: late},
		{Author: who("reader"), Verdict: forge.Approved, Commit: "head", At: late},
		{Author: forge.Account{Name: "ana2", Bot: true}, Verdict: forge.Approved, Commit: "head", At: late},
	}}
	p.said = map[string][]forge.Comment{"7": {
		{Author: who("dan"), Body: "fine\naplomb approve " + digest[:12] + "\n", At: late},
		{Author: who("eve"), Body: "aplomb approve " + digest, At: late}, // the author
		{Author: who("ben"), Body: "aplomb approve " + digest[:11], At: late},
		{Author: who("ben"), Body: "> aplomb approve " + digest, At: late},
		{Author: who("ben"), Body: "aplomb approve " + digest, At: late, Edited: true},
		{Author: who("ben"), Body: "aplomb approve " + strings.Repeat("0", 12), At: late},
		{Author: who("reader"), Body: "aplomb approve " + digest, At: late},
	}}
	a.Forge = p
	got, err := counted(t, a)
	want := []string{"ana 5e0c review of 7 web", "dan 5e0c comment on 7 web", "old 000c review of 7 web"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	again, err := OpenBook(a.Book.path)
	if err != nil {
		t.Fatal(err)
	}
	a.Book = again
	if got, err := counted(t, a); err != nil || len(got) > 0 {
		t.Errorf("after a restart words are counted again: %q, %v", got, err)
	}
}

// Where teams are named, only their members' words count.
func TestApproverTeams(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true}, teams: map[string][]forge.Account{"org/platform": {who("Ben")}}}
	a, at := approver(t, p)
	a.Teams = []string{"org/platform"}
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: who("eve")}, {ID: "8", Head: "never planned"}}}
	p.reviews = map[string][]forge.Review{"7": {
		{Author: who("ana"), Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)},
		{Author: who("ben"), Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)},
	}}
	a.Forge = p
	if got, err := counted(t, a); err != nil || !slices.Equal(got, []string{"ben 5e0c review of 7 web"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// Who wrote what aplomb proposed from another branch wrote it.
func TestApproverUpstream(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true}}
	a, at := approver(t, p)
	a.Upstream = "next"
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: who("aplomb")}}, "next merge": {{ID: "6", Author: who("Ana")}}}
	p.reviews = map[string][]forge.Review{"7": {
		{Author: who("ana"), Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)},
		{Author: who("ben"), Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)},
	}}
	a.Forge = p
	if got, err := counted(t, a); err != nil || !slices.Equal(got, []string{"ben 5e0c review of 7 web"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// A forge that is out of reach means no.
func TestApproverForgeDown(t *testing.T) {
	p := people{board: newBoard(), failWith: &forge.Error{Op: "read", Class: forge.ErrUnreachable}}
	a, _ := approver(t, p)
	if got, err := counted(t, a); !errors.Is(err, forge.ErrUnreachable) || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}

// A yes that could not be recorded is counted at the next look.
func TestApproverTriesAgain(t *testing.T) {
	p := people{board: newBoard(), writers: map[string]bool{"ana": true}}
	a, at := approver(t, p)
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head"}}}
	p.reviews = map[string][]forge.Review{"7": {{Author: forge.Account{Name: "ana"}, Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)}}}
	a.Forge = p
	full := errors.New("no space left")
	a.Approve = func(context.Context, string, string, string, []plan.Masked) error { return full }
	if err := a.look(t.Context(), sources.Revision{}, sources.Revision{ID: "merge"}); !errors.Is(err, full) {
		t.Fatal(err)
	}
	if got, err := counted(t, a); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDamagedBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proposals.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBook(path); err == nil {
		t.Error("a damaged book is read")
	}
}

func FuzzBook(f *testing.F) {
	f.Add([]byte(`{"pages":{"h":[{"digest":"00"}]},"counted":{"a":"2026-11-28T12:00:00Z"}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		b := &Book{pages: map[string][]page{}, counted: map[string]time.Time{}}
		if b.parse(data) == nil {
			b.seen("h", time.Now())
			b.first("h")
			oldest(b.pages, func(all []page) time.Time { return all[len(all)-1].At })
		}
	})
}
