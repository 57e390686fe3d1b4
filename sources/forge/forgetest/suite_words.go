package forgetest

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

var noTime time.Time

// verdicts are the reviews by the name of who gave them.
func verdicts(t *testing.T, d *desk, id string) map[string]forge.Review {
	t.Helper()
	all := map[string]forge.Review{}
	for _, r := range must[[]forge.Review](t)(d.f.Reviews(t.Context(), at(id))) {
		if _, twice := all[r.Author.Name]; twice || r.Author.ID == "" {
			t.Errorf("%+v appears twice, or is nobody", r.Author)
		}
		all[r.Author.Name] = r
	}
	return all
}

func reviews(t *testing.T, d *desk) {
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	same(t, "before anybody looked", len(verdicts(t, d, id)), 0)
	d.Remark(t, id, Bo)
	same(t, "after a mere comment", len(verdicts(t, d, id)), 0)

	first := d.Head(t, id)
	d.Review(t, id, Bo, forge.Approved)
	got := verdicts(t, d, id)[Bo]
	same(t, "verdict", got.Verdict, forge.Approved)
	same(t, "commit", got.Commit, first)

	second := d.Push(t, id)
	same(t, "commit after a push", verdicts(t, d, id)[Bo].Commit, first)
	d.Remark(t, id, Bo)
	same(t, "verdict after a mere comment", verdicts(t, d, id)[Bo].Verdict, forge.Approved)
	d.Review(t, id, Bo, forge.Approved)
	same(t, "commit of a new approval", verdicts(t, d, id)[Bo].Commit, second)
}

func words(t *testing.T, d *desk) {
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	d.Review(t, id, Cy, forge.Approved)
	d.Review(t, id, Bo, forge.Approved)
	d.Review(t, id, Bo, forge.Changes)
	got := verdicts(t, d, id)
	same(t, "Cy's word", got[Cy].Verdict, forge.Approved)
	same(t, "Bo's last word", got[Bo].Verdict, forge.Changes)
	d.Review(t, id, Bo, forge.Approved)
	same(t, "Bo's last word", verdicts(t, d, id)[Bo].Verdict, forge.Approved)
	d.Review(t, id, Bo, forge.Dismissed)
	// A forge that keeps no history forgets what was dismissed.
	if v := verdicts(t, d, id)[Bo].Verdict; v == forge.Approved || v == forge.Changes {
		t.Errorf("a dismissed word counts: %v", v)
	}
}

// ours are our comments on a proposal as its readers see them.
func ours(t *testing.T, d *desk, id string) []string {
	t.Helper()
	var out []string
	for _, c := range d.Comments(t, id) {
		if c.Author.Name == Us {
			out = append(out, strings.ReplaceAll(c.Body, "\r\n", "\n"))
		}
	}
	return out
}

func comment(t *testing.T, d *desk) {
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	d.Say(t, id, Ana, "please")
	const body = "**aplomb · prod** — 1 create\n\n| a | b |\n|---|---|\n| ~ | x |\n"
	good(t, d.f.Comment(ctx, at(id), "prod", body))
	same(t, "comments", len(ours(t, d, id)), 1)
	if got := ours(t, d, id); !strings.Contains(got[0], strings.TrimSpace(body)) {
		t.Errorf("the body is not in it: %q", got[0])
	}
	n := d.writes(func() {
		good(t, d.f.Comment(ctx, at(id), "prod", body))
		good(t, d.again(t).Comment(ctx, at(id), "prod", strings.ReplaceAll(body, "\n", "\r\n")))
	})
	same(t, "writes of the same again", n, 0)
	good(t, d.f.Comment(ctx, at(id), "prod", "now 2 creates"))
	good(t, d.f.Comment(ctx, at(id), "prod-eu", "another environment"))
	good(t, d.again(t).Comment(ctx, at(id), "prod", "now 3 creates"))
	got := ours(t, d, id)
	if len(got) != 2 || !strings.Contains(got[0], "now 3 creates") || !strings.Contains(got[1], "another environment") {
		t.Errorf("got %q", got)
	}
	for _, key := range []string{"", "-x", "x -->", "X", strings.Repeat("x", 101), "a\nb"} {
		is(t, d.f.Comment(ctx, at(id), key, "x"), forge.ErrRefused)
	}
}

// commentOfOthers: whoever copies our mark does not become us.
func commentOfOthers(t *testing.T, d *desk) {
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	good(t, d.f.Comment(ctx, at(id), "seen", "our text"))
	mark, _, _ := strings.Cut(ours(t, d, id)[0], "\n")
	d.Say(t, id, Ana, strings.Replace(mark, "seen", "prod", 1)+"\nall is well, merge it")
	good(t, d.f.Comment(ctx, at(id), "quoting", "somebody said:\n"+strings.Replace(mark, "seen", "prod", 1)))
	good(t, d.f.Comment(ctx, at(id), "prod", "1 delete"))
	got := ours(t, d, id)
	if len(got) != 3 || !strings.Contains(got[2], "1 delete") {
		t.Errorf("got %q", got)
	}
	for _, c := range d.Comments(t, id) {
		if c.Author.Name == Ana && !strings.Contains(c.Body, "all is well") {
			t.Errorf("we edited what Ana said: %q", c.Body)
		}
	}
	for _, c := range must[[]forge.Comment](t)(d.f.Comments(ctx, at(id), noTime)) {
		same(t, c.ID+" is ours", c.Ours, c.Author.Name == Us)
	}
}

func commentLong(t *testing.T, d *desk) {
	ctx := t.Context()
	limit := d.f.Limits().Comment
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	long := "<details>\n\n```\n" + strings.Repeat("a line of a long plan, é\n", limit/20) + "```\n\n</details>\n"
	good(t, d.f.Comment(ctx, at(id), "prod", long))
	got := ours(t, d, id)
	if len(got) != 1 || len(got[0]) > limit || !strings.Contains(got[0], "Cut here") || strings.Count(got[0], "```") != 2 || !strings.Contains(got[0], "</details>") {
		t.Fatalf("%d comments, the first of %d bytes, ends in %q", len(got), len(got[0]), got[0][max(0, len(got[0])-200):])
	}
	same(t, "writes of the same again", d.writes(func() { good(t, d.again(t).Comment(ctx, at(id), "prod", long)) }), 0)
}

func commentAtOnce(t *testing.T, d *desk) {
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = d.f.Comment(ctx, at(id), "prod", "the same text") })
	}
	wg.Wait()
	for _, err := range errs {
		good(t, err)
	}
	same(t, "comments", len(ours(t, d, id)), 1)
}

func comments(t *testing.T, d *desk) {
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	same(t, "before anybody spoke", len(must[[]forge.Comment](t)(d.f.Comments(ctx, at(id), noTime))), 0)
	d.Say(t, id, Ana, "aplomb approve 5e0c7a1f93b2")
	d.Say(t, id, Cy, "thank you")
	d.Review(t, id, Bo, forge.Approved) // what forges note about it is nobody's comment
	list := must[[]forge.Comment](t)(d.f.Comments(ctx, at(id), noTime))
	if len(list) != 2 {
		t.Fatalf("got %+v", list)
	}
	same(t, "body", list[0].Body, "aplomb approve 5e0c7a1f93b2")
	same(t, "author", list[0].Author.Name, Ana)
	same(t, "edited", list[0].Edited, false)
	if list[0].ID == list[1].ID || list[0].ID == "" || list[0].At.IsZero() || list[0].Author.ID == list[1].Author.ID {
		t.Errorf("without identity: %+v", list)
	}
	d.Edit(t, id, Ana, "aplomb approve 90ab12cd34ef")
	list = must[[]forge.Comment](t)(d.f.Comments(ctx, at(id), noTime))
	same(t, "edited by a moderator", list[0].Edited, true)
	same(t, "not edited", list[1].Edited, false)

	d.Say(t, id, Ana, "later")
	since := must[[]forge.Comment](t)(d.f.Comments(ctx, at(id), noTime))[2].At
	late := must[[]forge.Comment](t)(d.f.Comments(ctx, at(id), since))
	if len(late) == 0 || !slices.ContainsFunc(late, func(c forge.Comment) bool { return c.Body == "later" }) {
		t.Errorf("the one at that very time is missing: %+v", late)
	}
	if d.Cheap() { // where the clock moves with each thing that happens
		same(t, "since", len(late), 1)
	}
	same(t, "after everything", len(must[[]forge.Comment](t)(d.f.Comments(ctx, at(id), since.Add(time.Hour)))), 0)
}
