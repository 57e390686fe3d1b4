package proposals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
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
	a.Approve = func(ctx context.Context, y gate.Approval) error {
		via := string(reconciler.MeansOf(ctx))
		if via == string(reconciler.MeansSigned) {
			via = "signed "
		}
		if !strings.HasPrefix(y.Why, via) {
			t.Errorf("%s: by way of %q", y.Why, via)
		}
		word := y.By + " " + y.ID[:4] + " " + y.Why + " " + y.Changes[0].ID.Name
		for _, owner := range y.Speaks {
			word += " for " + owner
		}
		if y.OwnersOnly {
			word += " only"
		}
		got = append(got, word)
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
	a := &Approver{Environment: "prod", Branch: "main", Reviews: true, Forge: p, Book: book, Log: log,
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
	told := ""
	a.WasShown = func(proposal string, at time.Time, shown []plan.Masked) {
		told += proposal + " " + at.Format("15:04") + " " + shown[0].ID.Name
	}
	if got, err := counted(t, a); err != nil || !slices.Equal(got, []string{"ben 5e0c review of 7 web"}) {
		t.Errorf("%q, %v", got, err)
	}
	if told != "7 13:00 web" {
		t.Errorf("what was shown is said to be %q", told)
	}
}

// Owners are heard about what is theirs, also where their word counts for nothing
// else: because they are in no team that reviews, may not write, or because no
// reviews are wanted. Their yes is for the commit that was merged, as anybody's,
// and nobody's own.
func TestApproverOwners(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	for _, c := range []struct {
		name  string
		alter func(*Approver)
		want  []string
	}{
		{"teams review", func(a *Approver) { a.Teams = []string{"org/platform"} }, []string{
			"Ana 5e0c review of 7 web for @ana only", "ben 5e0c review of 7 web", "sue 5e0c review of 7 web for ops/security only", "tom 5e0c review of 7 web for shop/team only"}},
		{"who may write reviews", func(*Approver) {}, []string{
			"Ana 5e0c review of 7 web for @ana", "ben 5e0c review of 7 web", "sue 5e0c review of 7 web for ops/security only", "tom 5e0c review of 7 web for shop/team only"}},
		{"nobody does", func(a *Approver) { a.Reviews = false }, []string{
			"Ana 5e0c review of 7 web for @ana only", "sue 5e0c review of 7 web for ops/security only", "tom 5e0c review of 7 web for shop/team only"}},
	} {
		p := people{board: newBoard(), writers: map[string]bool{"Ana": true, "ben": true, "eve": true}, teams: map[string][]forge.Account{
			"org/platform": {who("Ben")}, "ops/security": {who("sue"), who("eve"), who("old")}, "shop/team": {who("Tom")}}}
		a, at := approver(t, p)
		late := at.Add(2 * time.Hour)
		a.Owners = []string{"ops/security", "shop/team", "@ana", "lost/team"}
		p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: who("eve")}}}
		for _, name := range []string{"Ana", "ben", "sue", "tom", "eve", "reader"} {
			p.reviewed("7", forge.Review{Author: who(name), Verdict: forge.Approved, Commit: "head", At: late})
		}
		p.reviewed("7", forge.Review{Author: who("old"), Verdict: forge.Approved, Commit: "before", At: late}) // dismissed by a push
		p.reviewed("7", forge.Review{Author: forge.Account{Name: "sue", Bot: true}, Verdict: forge.Approved, Commit: "head", At: late})
		a.Forge = p
		c.alter(a)
		if got, err := counted(t, a); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

// Where no reviews are asked for, a review approves nothing, and a comment that
// names the digest what it names: of those who may, and not of the author.
func TestApproverManual(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	for _, c := range []struct {
		teams []string
		want  []string
	}{
		{nil, []string{"ben 5e0c comment on 7 web", "dan 5e0c comment on 7 web"}},
		{[]string{"org/platform"}, []string{"ben 5e0c comment on 7 web"}},
	} {
		p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true, "dan": true, "eve": true}, teams: map[string][]forge.Account{"org/platform": {who("ben")}}}
		a, at := approver(t, p)
		a.Reviews, a.Teams = false, c.teams
		late := at.Add(2 * time.Hour)
		p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: who("eve")}}}
		p.reviewed("7", forge.Review{Author: who("ana"), Verdict: forge.Approved, Commit: "head", At: late})
		p.said = map[string][]forge.Comment{"7": {
			{Author: who("ben"), Body: "aplomb approve " + digest, At: late}, {Author: who("dan"), Body: "aplomb approve " + digest[:12], At: late},
			{Author: who("eve"), Body: "aplomb approve " + digest, At: late}, {Author: who("reader"), Body: "aplomb approve " + digest, At: late},
		}}
		a.Forge = p
		if got, err := counted(t, a); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v, want %q", c.teams, got, err, c.want)
		}
	}
}

// Where a forge has no teams, only tokens speak for one: nobody's word there is
// lost by that.
func TestApproverNoTeams(t *testing.T) {
	p := people{board: newBoard(), writers: map[string]bool{"ana": true}, noTeams: &forge.Error{Op: "list", Class: forge.ErrUnsupported}}
	a, at := approver(t, p)
	a.Owners = []string{"ops/security"}
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head"}}}
	p.reviews = map[string][]forge.Review{"7": {{Author: forge.Account{Name: "ana"}, Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)}}}
	a.Forge = p
	if got, err := counted(t, a); err != nil || !slices.Equal(got, []string{"ana 5e0c review of 7 web"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// Where no reviews are wanted, one lets nothing run that a hold keeps; naming the
// plan does, by whoever may write.
func TestApproverWithoutReviews(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true}}
	a, at := approver(t, p)
	late := at.Add(2 * time.Hour)
	a.Reviews = false
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: who("eve")}}}
	p.reviews = map[string][]forge.Review{"7": {{Author: who("ana"), Verdict: forge.Approved, Commit: "head", At: late}}}
	p.said = map[string][]forge.Comment{"7": {
		{ID: "1", Author: who("ben"), Body: "aplomb approve " + digest, At: late},
		{ID: "2", Author: who("reader"), Body: "aplomb approve " + digest, At: late},
	}}
	a.Forge = p
	if got, err := counted(t, a); err != nil || !slices.Equal(got, []string{"ben 5e0c comment on 7 web"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// Whose team cannot be asked about is not heard: the look is made again.
func TestApproverOwnersUnknown(t *testing.T) {
	p := people{board: newBoard(), noTeams: &forge.Error{Op: "read", Class: forge.ErrUnreachable}}
	a, at := approver(t, p)
	a.Reviews, a.Owners = false, []string{"@ana", "ops/security"}
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head"}}}
	p.reviews = map[string][]forge.Review{"7": {{Author: forge.Account{Name: "ana"}, Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)}}}
	a.Forge = p
	if got, err := counted(t, a); !errors.Is(err, forge.ErrUnreachable) || len(got) > 0 {
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
	p.origin["next merge"] = append(p.origin["next merge"], forge.Proposal{ID: "5", Author: forge.Account{Name: "typed@example.org"}})
	a, _ = approver(t, p)
	a.Upstream = "next"
	if got, err := counted(t, a); err != nil || len(got) > 0 {
		t.Errorf("what nobody is known to have written is approved by %q, %v", got, err)
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
	a.Approve = func(context.Context, gate.Approval) error { return full }
	if err := a.look(t.Context(), sources.Revision{}, sources.Revision{ID: "merge"}); !errors.Is(err, full) {
		t.Fatal(err)
	}
	if got, err := counted(t, a); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

// A book that would be too large to be read again goes without its oldest plans,
// and who asked for something stays known however many words are counted.
func TestBookIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proposals.json")
	b := opened(t, path)
	b.most = 100_000
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	live, err := json.Marshal(strings.Repeat("x", 10_000))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		p := page{Digest: fmt.Sprintf("%064d", i), Shown: []plan.Masked{{Before: live}}, At: at.Add(time.Duration(i) * time.Minute)}
		if err := b.write([]string{"old", "head"}[min(i/5, 1)], p); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > int64(b.most) {
		t.Errorf("%v, %v", info.Size(), err)
	}
	again := opened(t, path)
	if _, ok := again.named("head", fmt.Sprintf("%064d", 29)); !ok || !again.first("old").IsZero() || !again.first("head").After(at.Add(15*time.Minute)) {
		t.Errorf("what is left is of %s, and the newest is there: %t", again.first("head"), ok)
	}
	if err := b.note("asked"); err != nil {
		t.Fatal(err)
	}
	for i := range mostCounted {
		b.counted[fmt.Sprint(i)] = time.Now()
	}
	if err := b.note("asked"); err != nil || !b.knows("asked") || len(b.counted) != mostCounted {
		t.Errorf("%v, %d", err, len(b.counted))
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
			oldest(b.pages, mostPages, func(all []page) time.Time { return all[len(all)-1].At })
		}
	})
}

// A word of which nobody can tell when it was given counts for what it names,
// where that was shown and is one thing; the author's counts no more than ever.
func TestApproverTimeless(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true, "eve": true, "dan": true}}
	a, at := approver(t, p)
	twin := digest[:12] + strings.Repeat("f", 52)
	if err := a.Book.write("twins", page{Proposal: "8", Digest: digest, Shown: []plan.Masked{{}}, At: at}); err != nil {
		t.Fatal(err)
	}
	if err := a.Book.write("twins", page{Proposal: "8", Digest: twin, Shown: []plan.Masked{{}}, At: at}); err != nil {
		t.Fatal(err)
	}
	old := "00" + digest[2:]
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: who("eve")}, {ID: "8", Head: "twins", Author: who("eve")}}}
	p.said = map[string][]forge.Comment{
		"7": {
			{Author: who("ana"), Body: "aplomb approve " + digest[:12] + "\naplomb approve " + old + "\naplomb approve " + strings.Repeat("1", 64), Means: "signed tag x"},
			{Author: who("eve"), Body: "aplomb approve " + digest},
			{Author: who("ben"), Body: "aplomb approve " + strings.Repeat("2", 64)},
			{Author: who("dan"), Body: "all of it"},
			{Author: who("reader"), Body: "aplomb approve " + digest},
		},
		"8": {
			{Author: who("ana"), Body: "aplomb approve " + digest[:12]}, // which of the two?
			{Author: who("ben"), Body: "aplomb approve " + twin[:13]},
		},
	}
	a.Forge = p
	got, err := counted(t, a)
	want := []string{"ana 000c signed tag x on 7 web", "ana 5e0c signed tag x on 7 web", "ben 5e0c comment on 8 "}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
