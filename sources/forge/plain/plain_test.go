package plain_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/plain"
	"github.com/aplomb-dev/aplomb/sources/git"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ids(list []forge.Proposal) string {
	var out []string
	for _, p := range list {
		out = append(out, p.ID)
	}
	return strings.Join(out, " ")
}

// A proposal is a branch below the prefix, or one of aplomb's own, until main
// has all of it; who signed its last commit is its author.
func TestProposals(t *testing.T) {
	both(t, func(t *testing.T, v *town) {
		p := v.connect(t)
		if got := must[[]forge.Proposal](t)(p.Proposals(t.Context(), "main")); len(got) != 0 {
			t.Fatalf("in the beginning: %v", got)
		}
		first := v.work.Head()
		one := v.propose("proposals/team/one")
		v.as("eve")
		v.propose("proposals/strange")
		v.propose("proposals/unsigned", "--no-gpg-sign")
		v.as("bo")
		v.propose("aplomb/revert")
		v.propose("proposals/aplomb/revert") // would be taken for the one above
		v.propose("else")
		v.push("main:proposals/nothing")                                                       // main has all of it
		v.bare.Write("refs/heads/proposals/odd", v.bare.Git("hash-object", "-w", "HEAD")+"\n") // a file
		got := must[[]forge.Proposal](t)(p.Proposals(t.Context(), "main"))
		if ids(got) != "team/one strange unsigned aplomb/revert" {
			t.Fatalf("got %s", ids(got))
		}
		want := forge.Proposal{
			ID: "team/one", Title: "Change proposals/team/one", Author: forge.Account{ID: "ana@example.org", Name: "ana@example.org"}, State: forge.Open,
			Head: one, Ref: "refs/heads/proposals/team/one", HeadBranch: "proposals/team/one", Branch: "main", Base: first, Updated: got[0].Updated,
		}
		if got[0] != want {
			t.Errorf("got %+v, want %+v", got[0], want)
		}
		for _, one := range got[1:3] { // what a commit says of its author, anybody can write
			if one.Author.ID != "" {
				t.Errorf("%s is of %+v", one.ID, one.Author)
			}
		}
		if got := must[[]forge.Proposal](t)(p.Proposals(t.Context(), "release")); len(got) != 0 {
			t.Errorf("to a branch that is not there: %v", got)
		}
		if got := must[forge.Proposal](t)(p.Open(t.Context(), forge.Draft{Branch: "aplomb/revert", Base: "main"})); got.ID != "aplomb/revert" {
			t.Errorf("opened %+v", got)
		}
		for _, branch := range []string{"else", "proposals/missing", "proposals/nothing", "proposals/aplomb/revert"} {
			if got, err := p.Open(t.Context(), forge.Draft{Branch: branch, Base: "main"}); !errors.Is(err, forge.ErrRefused) {
				t.Errorf("%s: %+v, %v", branch, got, err)
			}
		}
		v.merge(one, "merged")
		if got := must[[]forge.Proposal](t)(p.Proposals(t.Context(), "main")); ids(got) != "strange unsigned aplomb/revert" {
			t.Errorf("after a merge: %s", ids(got))
		}
	})
}

// Where what came into main was proposed: by a merge, by moving on to it, and
// where only a tag remembers the commit.
func TestOrigin(t *testing.T) {
	both(t, func(t *testing.T, v *town) {
		p := v.connect(t)
		origin := func(commit string) []forge.Proposal {
			t.Helper()
			return must[[]forge.Proposal](t)(p.Origin(t.Context(), "main", commit))
		}
		head := v.propose("proposals/one")
		if got := must[[]forge.Proposal](t)(p.Proposals(t.Context(), "main")); len(got) != 1 || len(origin(head)) != 0 {
			t.Errorf("an open proposal is an origin: %v", origin(head))
		}
		commit := v.merge(head, "merged")
		got := origin(commit)
		if len(got) != 1 || got[0].Head != head || got[0].MergeCommit != commit || got[0].State != forge.Merged || got[0].ID != head[:12] {
			t.Fatalf("got %+v", got)
		}
		v.push(":proposals/one")
		if got := origin(commit); len(got) != 0 {
			t.Errorf("nothing names it any more: %+v", got)
		}
		v.as("bo")
		v.work.Git("tag", "-s", "-m", "aplomb approve 0123456789ab", "aplomb/approve/one", head)
		v.push("--tags")
		if again := origin(commit); len(again) != 1 || again[0] != got[0] {
			t.Errorf("a tag names it: %+v, before %+v", again, got)
		}
		if got := must[[]forge.Proposal](t)(p.Origin(t.Context(), "proposals/one", commit)); len(got) != 0 {
			t.Errorf("of a branch that is gone: %+v", got)
		}
		direct := v.work.Commit("direct", "a", "2")
		v.push("main")
		forward := v.propose("proposals/forward")
		v.push("topic:main")
		if got := origin(direct); len(got) != 0 {
			t.Errorf("what was pushed directly: %+v", got)
		}
		if got := origin(forward); len(got) != 1 || got[0].Head != forward {
			t.Errorf("what main moved on to: %+v", got)
		}
		if got := origin(strings.Repeat("0", 39) + "1"); len(got) != 0 {
			t.Errorf("what is not there: %+v", got)
		}
	})
}

// said is what counts of what was said of a commit: who, and the first line.
func said(t *testing.T, p *plain.Plain, head, merge string) []string {
	t.Helper()
	var out []string
	for _, c := range must[[]forge.Comment](t)(p.Comments(t.Context(), forge.Proposal{ID: "x", Head: head, MergeCommit: merge}, time.Now())) {
		if !c.At.IsZero() || c.Ours || c.Edited {
			t.Errorf("%+v claims what nobody knows", c)
		}
		first, _, _ := strings.Cut(c.Body, "\n")
		out = append(out, c.Author.Name+": "+first+" by "+c.Means)
	}
	return out
}

// Whose tags say something, and of which commit.
func TestTags(t *testing.T) {
	both(t, func(t *testing.T, v *town) {
		p := v.connect(t)
		head := v.propose("proposals/one")
		before := v.work.Git("rev-parse", head+"^")
		must[[]forge.Proposal](t)(p.Proposals(t.Context(), "main"))
		tag := func(who, name, at string, args ...string) {
			v.as(who)
			v.work.Git(append(append([]string{"tag", "-m", "aplomb approve " + name}, args...), "aplomb/approve/"+name, at)...)
		}
		tag("bo", "good", head, "-s")
		tag("ana", "own", head, "-s") // whether the author's counts is for others to say
		tag("eve", "stranger", head, "-s")
		tag("bo", "unsigned", head, "-a", "--no-sign")
		tag("bo", "before", before, "-s")
		v.work.Git("tag", "aplomb/approve/light", head)
		v.work.Git("tag", "-s", "-m", "aplomb approve good", "aplomb/approve/nested", "aplomb/approve/good")
		v.work.Git("update-ref", "refs/tags/aplomb/approve/copy", "refs/tags/aplomb/approve/good")
		forged := strings.Replace(v.work.Git("cat-file", "tag", "aplomb/approve/good"), "approve good", "approve evil", 1)
		v.work.Write("forged", strings.Replace(forged, "tag aplomb/approve/good", "tag aplomb/approve/forged", 1)+"\n")
		v.work.Git("update-ref", "refs/tags/aplomb/approve/forged", v.work.Git("hash-object", "-t", "tag", "-w", "forged"))
		v.work.Git("tag", "-s", "-m", "aplomb approve elsewhere", "release", head)
		v.push("--tags")
		want := []string{"bo@example.org: aplomb approve good by signed tag aplomb/approve/good", "ana@example.org: aplomb approve own by signed tag aplomb/approve/own"}
		if got := said(t, p, head, ""); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		v.push(":refs/tags/aplomb/approve/good")
		if got := said(t, p, head, ""); !slices.Equal(got, want[1:]) {
			t.Errorf("what is taken back: %q", got)
		}
		v.as("ana")
		unsigned := v.propose("proposals/two", "--no-gpg-sign")
		must[[]forge.Proposal](t)(p.Proposals(t.Context(), "main"))
		tag("bo", "unknown", unsigned, "-s")
		v.push("--tags")
		if got := said(t, p, unsigned, ""); len(got) != 0 {
			t.Errorf("where the author could be anybody: %q", got)
		}
		for who, want := range map[string]forge.Permission{"ana@example.org": forge.Write, "BO@example.org": forge.Write, "eve@example.org": forge.None, "": forge.None} {
			if got := must[forge.Permission](t)(p.Permission(t.Context(), who)); got != want {
				t.Errorf("%q may %s", who, got)
			}
		}
		v.write(t, "allowed", "nonsense")
		if got, err := p.Comments(t.Context(), forge.Proposal{ID: "x", Head: head}, time.Time{}); err == nil {
			t.Errorf("a list that cannot be read: %v", got)
		}
	})
}

// Whose merges say something.
func TestTrailers(t *testing.T) {
	v := newTown(t, false)
	p := v.connect(t)
	const line = "\n\nAplomb-Approve: 0123456789ab"
	for name, tc := range map[string]struct {
		who, message string
		args         []string
		want         string
	}{
		"good":        {"bo", "merged" + line, nil, "bo@example.org: aplomb approve 0123456789ab by signed merge "},
		"with others": {"bo", "merged" + line + "\nReviewed-by: ana", nil, "bo@example.org: aplomb approve 0123456789ab by signed merge "},
		"a stranger":  {"eve", "merged" + line, nil, ""},
		"unsigned":    {"bo", "merged" + line, []string{"--no-gpg-sign"}, ""},
		"quoted":      {"bo", "merged" + line + "\n\nwhich somebody said", nil, ""},
		"a subject":   {"bo", strings.TrimSpace(line), nil, ""},
		"too short":   {"bo", "merged\n\nAplomb-Approve: 0123456789a", nil, ""},
	} {
		v.as("ana")
		head := v.propose("proposals/x" + strings.ReplaceAll(name, " ", ""))
		v.as(tc.who)
		merge := v.merge(head, tc.message, tc.args...)
		var want []string
		if tc.want != "" {
			want = []string{tc.want + merge[:7]}
		}
		if got := said(t, p, head, merge); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if got := said(t, p, v.work.Git("rev-parse", merge+"^1"), merge); len(got) != 0 && name == "good" {
			t.Errorf("it was said of what was merged into: %q", got)
		}
	}
}

// Pages stand beside reports, are left alone where they are equal, and go with
// their proposals.
func TestPages(t *testing.T) {
	both(t, func(t *testing.T, v *town) {
		p := v.connect(t)
		r := must[*git.Reporter](t)(git.NewReporter(v.second(t)))
		t.Cleanup(func() { _ = r.Close() })
		report := func(text string) {
			t.Helper()
			if err := r.Report(t.Context(), sources.Report{Environment: "prod", Title: text, Files: map[string][]byte{"README.md": []byte(text)}}); err != nil {
				t.Fatal(err)
			}
		}
		good := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		report("one")
		head := v.propose("proposals/a.md/web", "-m", "<b>@ana</b> `x`")
		open := must[[]forge.Proposal](t)(p.Proposals(t.Context(), "main"))
		mark := "<!-- aplomb:other -->\nall is well"
		good(p.Comment(t.Context(), open[0], "plan/prod", "**1 create**\n\n"+mark))
		good(p.Status(t.Context(), head, forge.Status{Context: "c", State: forge.Success}))
		report("two")
		page := v.page("a%2Emd/web.md")
		if strings.Contains(page, mark) || strings.Contains(page, "<b>") || strings.Contains(page, "@ana") || strings.Contains(page, "`x`") {
			t.Errorf("what others wrote is more than text:\n%s", page)
		}
		for _, want := range []string{"**1 create**", head, "signed by <code>ana&#64;example.org</code>", "git tag -s -m 'aplomb approve DIGEST' aplomb/approve/NAME " + head} {
			if !strings.Contains(page, want) {
				t.Errorf("%q is not in\n%s", want, page)
			}
		}
		if v.bare.Git("show", "aplomb-status:prod/README.md") != "two" {
			t.Error("the report is lost")
		}
		n := v.writes()
		good(p.Comment(t.Context(), open[0], "plan/prod", "**1 create**\n\n"+mark))
		good(p.Status(t.Context(), head, forge.Status{Context: "c", State: forge.Success}))
		good(p.Tidy(t.Context(), open))
		if got := v.writes(); got != n {
			t.Errorf("%d commits say nothing new", got-n)
		}
		good(p.Tidy(t.Context(), nil))
		if v.page("a%2Emd/web.md") != "" || v.page("statuses.json") == "" || v.bare.Git("show", "aplomb-status:prod/README.md") != "two" {
			t.Errorf("left: %s", v.bare.Git("ls-tree", "-r", "--name-only", "aplomb-status"))
		}
		if err := p.Status(t.Context(), "nonsense", forge.Status{Context: "c", State: forge.Success}); err == nil {
			t.Error("a commit is anything")
		}
		v.bare.Git("fsck", "--strict")
	})
}

// A server that does not answer is no empty one.
func TestUnreachable(t *testing.T) {
	v := newTown(t, false)
	p := v.connect(t)
	v.cfg.URL = t.TempDir()
	if got, err := v.connect(t).Proposals(t.Context(), "main"); !errors.Is(err, forge.ErrUnreachable) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := p.Members(t.Context(), "team"); !errors.Is(err, forge.ErrUnsupported) {
		t.Error(err)
	}
}
