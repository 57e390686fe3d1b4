package forgetest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Run runs the suite: a server for each part of it. Where some are named only
// these: what has no API of its own, and no people on it, cannot do the others.
func Run(t *testing.T, start func(t testing.TB) Server, only ...string) {
	for name, part := range map[string]func(*testing.T, *desk){
		"Proposals": proposals, "Origin": origin, "Open": open, "Reviews": reviews, "Words": words, "Comment": comment,
		"CommentOfOthers": commentOfOthers, "CommentLong": commentLong, "CommentAtOnce": commentAtOnce, "Comments": comments,
		"Status": status1, "People": people, "Pages": pages, "Denied": denied, "Gone": gone, "Limited": limited, "Broken": broken,
		"Redirected": redirected, "Unchanged": unchanged, "LostWrites": lostWrites,
	} {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := start(t)
			d := &desk{Server: s, front: NewFront(t, s)}
			d.f = s.Connect(t, d.front.URL, true)
			part(t, d)
		})
	}
}

// desk is a server with its front and a client.
type desk struct {
	Server
	front *Front
	f     forge.Forge
}

// again is another client, which remembers nothing.
func (d *desk) again(t *testing.T) forge.Forge { return d.Connect(t, d.front.URL, true) }

// at is a proposal as a caller has it.
func at(id string) forge.Proposal { return forge.Proposal{ID: id} }

// Writing is a Server that counts itself what was written: it is not spoken to
// by requests.
type Writing interface{ Writes() int }

// writes counts the writing requests of f.
func (d *desk) writes(f func()) int {
	if w, ok := d.Server.(Writing); ok {
		before := w.Writes()
		f()
		return w.Writes() - before
	}
	_, before, _ := d.front.Counts()
	f()
	_, after, _ := d.front.Counts()
	return after - before
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func good(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, class error) {
	t.Helper()
	if !errors.Is(err, class) || forge.Class(err) != class {
		t.Fatalf("got %v, want an error of class %q", err, class)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func ids(list []forge.Proposal) string {
	var out []string
	for _, p := range list {
		out = append(out, p.ID)
	}
	return strings.Join(out, " ")
}

func proposals(t *testing.T, d *desk) {
	ctx := t.Context()
	same(t, "in an empty repository", len(must[[]forge.Proposal](t)(d.f.Proposals(ctx, Main))), 0)
	d.Branch(t, "release")
	one := d.Propose(t, Wish{By: Ana, Branch: "feature/one", Title: "One <b>& two</b>"})
	d.Propose(t, Wish{By: Ana, Branch: "other", Title: "Elsewhere", Into: "release"})
	draft := d.Propose(t, Wish{By: Bo, Branch: "draft", Title: "Not yet", Draft: true})
	fork := d.Propose(t, Wish{By: Cy, Branch: "outside", Title: "From outside", Fork: true})
	closed := d.Propose(t, Wish{By: Ana, Branch: "closed", Title: "No"})
	d.Close(t, closed)
	merged := d.Propose(t, Wish{By: Ana, Branch: "merged", Title: "Yes"})
	d.Merge(t, merged)

	list := must[[]forge.Proposal](t)(d.f.Proposals(ctx, Main))
	if got, want := ids(list), one+" "+draft+" "+fork; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	p := list[0]
	same(t, "title", p.Title, "One <b>& two</b>")
	same(t, "author", p.Author.Name, Ana)
	same(t, "head", p.Head, d.Head(t, one))
	same(t, "head's branch", p.HeadBranch, "feature/one")
	same(t, "branch", p.Branch, Main)
	same(t, "state", p.State, forge.Open)
	same(t, "draft", p.Draft, false)
	same(t, "fork", p.Fork, false)
	if len(p.Base) != 40 || p.Base == p.Head || p.Author.ID == "" || !strings.HasPrefix(p.URL, "http") || p.Updated.IsZero() {
		t.Errorf("something is missing: %+v", p)
	}
	same(t, "draft", list[1].Draft, true)
	same(t, "fork", list[2].Fork, true)
	same(t, "the fork's head", list[2].Head, d.Head(t, fork))

	head := d.Push(t, one)
	same(t, "head after a push", must[[]forge.Proposal](t)(d.f.Proposals(ctx, Main))[0].Head, head)
}

func origin(t *testing.T, d *desk) {
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	head := d.Head(t, id)
	if got := must[[]forge.Proposal](t)(d.f.Origin(ctx, Main, head)); len(got) != 0 {
		t.Errorf("an open proposal is an origin: %v", got)
	}
	commit := d.Merge(t, id)
	got := must[[]forge.Proposal](t)(d.f.Origin(ctx, Main, commit))
	if ids(got) != id {
		t.Fatalf("got %v, want %s", got, id)
	}
	same(t, "state", got[0].State, forge.Merged)
	same(t, "merge commit", got[0].MergeCommit, commit)
	same(t, "head", got[0].Head, head)
	same(t, "head's branch, be it gone", got[0].HeadBranch, "topic")
	if got := must[[]forge.Proposal](t)(d.f.Origin(ctx, "release", commit)); len(got) != 0 {
		t.Errorf("it was merged into another branch: %v", got)
	}
	direct := d.Commit(t)
	if got := must[[]forge.Proposal](t)(d.f.Origin(ctx, Main, direct)); len(got) != 0 {
		t.Errorf("what was pushed directly has an origin: %v", got)
	}
	if got := must[[]forge.Proposal](t)(d.f.Origin(ctx, Main, strings.Repeat("0", 39)+"1")); len(got) != 0 {
		t.Errorf("what does not exist has an origin: %v", got)
	}
}

func open(t *testing.T, d *desk) {
	ctx := t.Context()
	d.Branch(t, "aplomb/revert")
	draft := forge.Draft{Branch: "aplomb/revert", Base: Main, Title: "Revert", Body: "Because."}
	p := must[forge.Proposal](t)(d.f.Open(ctx, draft))
	same(t, "author", p.Author.Name, Us)
	same(t, "branches", p.HeadBranch+" "+p.Branch, "aplomb/revert "+Main)
	same(t, "head", p.Head, d.Head(t, p.ID))
	n := d.writes(func() { same(t, "again", must[forge.Proposal](t)(d.again(t).Open(ctx, draft)).ID, p.ID) })
	same(t, "writes of the same again", n, 0)

	// A fork's branch of the same name is somebody else's.
	d.Branch(t, "aplomb/other")
	d.Propose(t, Wish{By: Cy, Branch: "aplomb/other", Title: "Mine", Fork: true})
	draft.Branch = "aplomb/other"
	same(t, "author", must[forge.Proposal](t)(d.f.Open(ctx, draft)).Author.Name, Us)

	d.Close(t, p.ID)
	draft.Branch = "aplomb/revert"
	if next := must[forge.Proposal](t)(d.f.Open(ctx, draft)); next.ID == p.ID {
		t.Error("a closed proposal was taken for an open one")
	}
	draft.Branch = "nowhere"
	if _, err := d.f.Open(ctx, draft); err == nil {
		t.Error("a branch that is not there was proposed")
	}
}

func people(t *testing.T, d *desk) {
	ctx := t.Context()
	team := must[[]forge.Account](t)(d.f.Members(ctx, d.Team()))
	var names []string
	for _, a := range team {
		if a.Name != Us { // where we must be in it to see it
			names = append(names, a.Name)
		}
		if a.ID == "" || !a.Is(strings.ToUpper(a.Name)) {
			t.Errorf("an account without its identity: %+v", a)
		}
	}
	slices.Sort(names)
	same(t, "team", strings.Join(names, " "), Ana+" "+Bo)
	_, err := d.f.Members(ctx, d.Team()+"x")
	is(t, err, forge.ErrGone)
	for name, want := range map[string]forge.Permission{Ana: forge.Write, Bo: forge.Admin, Cy: forge.Read, "nobody-at-all": forge.None} {
		same(t, name, must[forge.Permission](t)(d.f.Permission(ctx, name)), want)
	}
	if got := must[forge.Permission](t)(d.f.Permission(ctx, Us)); got < forge.Write {
		t.Errorf("we may only %s", got)
	}
}

func status1(t *testing.T, d *desk) {
	ctx := t.Context()
	commit := d.Commit(t)
	s := forge.Status{Context: "aplomb/prod", State: forge.Pending, Description: "2 changes, applying", URL: "https://aplomb.example/prod"}
	good(t, d.f.Status(ctx, commit, s))
	same(t, "writes of the same again", d.writes(func() { good(t, d.again(t).Status(ctx, commit, s)) }), 0)
	other := forge.Status{Context: "aplomb/staging", State: forge.Failure, Description: "degraded"}
	good(t, d.f.Status(ctx, commit, other))
	same(t, "writes with another context there", d.writes(func() { good(t, d.f.Status(ctx, commit, s)) }), 0)

	s.State, s.Description = forge.Success, "converged: "+strings.Repeat("é long ", 60)
	good(t, d.f.Status(ctx, commit, s))
	same(t, "writes of what was cut", d.writes(func() { good(t, d.again(t).Status(ctx, commit, s)) }), 0)
	s.State, s.Description = forge.Pending, "again"
	good(t, d.f.Status(ctx, commit, s))
	same(t, "writes of the same again", d.writes(func() { good(t, d.again(t).Status(ctx, commit, s)) }), 0)

	all := d.Statuses(t, commit, "aplomb/prod")
	same(t, "statuses", len(all), 3)
	if len(all) == 3 {
		same(t, "the first", all[0], forge.Status{Context: "aplomb/prod", State: forge.Pending, Description: "2 changes, applying", URL: "https://aplomb.example/prod"})
		if got := all[1]; !strings.HasSuffix(got.Description, "…") || len([]rune(got.Description)) > d.f.Limits().Description || got.State != forge.Success {
			t.Errorf("the second: %+v", got)
		}
		same(t, "the third", all[2].State, forge.Pending)
	}
	if err := d.f.Status(ctx, strings.Repeat("0", 39)+"1", s); !errors.Is(err, forge.ErrGone) && !errors.Is(err, forge.ErrRefused) {
		t.Errorf("a commit that is not there: %v", err)
	}
	// The state that it has with other words: shown, or refused by the forge as no change; never an error.
	s.Description = "still"
	good(t, d.f.Status(ctx, commit, s))
}

func pages(t *testing.T, d *desk) {
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "Much talk"})
	for i := range 105 {
		d.Say(t, id, Ana, "word "+strconv.Itoa(i))
		if i < 52 {
			d.Remark(t, id, Bo)
		}
	}
	d.Review(t, id, Bo, forge.Approved)
	same(t, "comments", len(must[[]forge.Comment](t)(d.f.Comments(ctx, at(id), noTime))), 105)
	same(t, "reviews", len(must[[]forge.Review](t)(d.f.Reviews(ctx, at(id)))), 1)
	good(t, d.f.Comment(ctx, at(id), "prod", "at the end"))
	same(t, "writes", d.writes(func() { good(t, d.again(t).Comment(ctx, at(id), "prod", "at the end")) }), 0)
	if !d.Cheap() {
		return
	}
	for i := range 230 {
		d.Propose(t, Wish{By: Ana, Branch: "topic-" + strconv.Itoa(i), Title: "One of many"})
	}
	list := must[[]forge.Proposal](t)(d.f.Proposals(ctx, Main))
	same(t, "proposals", len(list), 231)
	same(t, "the first", list[0].ID, id)
}
