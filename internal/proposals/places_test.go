package proposals

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// What is said of a line leads to it, in the proposal's own last commit; what
// is not a file of it does not.
func TestPlaces(t *testing.T) {
	s := newStage(t, nil)
	head := s.propose("7", nil, "a.yaml", "2")
	s.status(head, "success aplomb/plan: prod 2 changes, update at worst")
	if c := s.comment("7"); !strings.Contains(c, "[<code>a.yaml&#58;1</code>](https://forge.example.org/"+head+"/a.yaml#L1)") {
		t.Errorf("%s", c)
	}
	s.mu.Lock()
	s.refused = &reconciler.Refusal{Findings: []schema.Diagnostic{
		{Pos: schema.Pos{File: "a.yaml", Line: 3, Col: 5}, Subject: "nomad.job/a", Message: "no such field", Hint: "did you mean count?"},
		{Pos: schema.Pos{File: "gone](x).yaml", Line: 3}, Message: "<b>"},
		{Pos: schema.Pos{File: "../above.yaml", Line: 3}, Message: "of another tree"},
	}}
	s.mu.Unlock()
	head = s.propose("7", nil, "a.yaml", "3")
	s.status(head, "failure aplomb/plan: prod 3 findings")
	for _, want := range []string{
		"- [<code>a.yaml&#58;3</code>](https://forge.example.org/" + head + "/a.yaml#L3) <code>nomad.job/a&#58; no such field</code>\n  hint: <code>did you mean count?</code>\n",
		"- <code>gone&#93;&#40;x&#41;.yaml&#58;3</code> <code>&#60;b&#62;</code>\n", "- <code>../above.yaml&#58;3</code> <code>of another tree</code>\n",
	} {
		if c := s.comment("7"); !strings.Contains(c, want) {
			t.Errorf("%s\nlacks %s", c, want)
		}
	}
}

// Policies speak at their lines.
func TestViolations(t *testing.T) {
	s := newStage(t, nil)
	s.mu.Lock()
	s.violate = []schema.Violation{{Policy: "cost-label", Level: schema.Advisory, Message: "there is no label", Hint: "labels: {cost-centre: …}", Pos: schema.Pos{File: "a.yaml", Line: 4}}}
	s.mu.Unlock()
	head := s.propose("7", nil, "a.yaml", "2")
	s.status(head, "success aplomb/plan: prod 2 changes, update at worst")
	want := "\nPolicies:\n\n- [<code>a.yaml&#58;4</code>](https://forge.example.org/" + head + "/a.yaml#L4) <code>advisory cost-label&#58; nomad.job/a&#58; there is no label</code>\n  hint: "
	if c := s.comment("7"); !strings.Contains(c, want) {
		t.Errorf("%s\nlacks %s", c, want)
	}
}

// A plan that is more than a comment holds is whole on a page, to which the
// comment leads; the page goes with the proposal.
func TestPages(t *testing.T) {
	s := newStage(t, func(d *Desk) { d.Pages, d.PagesBranch, d.PagesFolder = d.Forge.(Pages), "aplomb-status", "proposals" })
	s.status(s.propose("7", nil, "a.yaml", "2"), "success aplomb/plan: prod 2 changes, update at worst")
	if c := s.comment("7"); strings.Contains(c, "whole plan") {
		t.Errorf("a short plan has a page: %s", c)
	}
	var files []string
	for i := range 150 {
		files = append(files, fmt.Sprintf("n%03d.yaml", i), "1")
	}
	s.status(s.propose("7", nil, files...), "success aplomb/plan: prod 152 changes, update at worst")
	const link = "[the whole plan](https://forge.example.org/aplomb-status/prod/proposals/7.md)"
	c := s.comment("7")
	s.board.mu.Lock()
	page, before, notes := string(s.board.pages["7.md"]), s.board.pages["12.md"], s.board.pages["notes.md"]
	s.board.mu.Unlock()
	if !strings.Contains(c, link) || !strings.Contains(c, "and 52 more") {
		t.Errorf("%s", c)
	}
	if strings.Count(page, "| scheduler | ~ |") != 152 || strings.Contains(page, "more") {
		t.Errorf("the page is not whole: %s", page)
	}
	if before != nil || notes == nil {
		t.Errorf("the page of a proposal that is no more: %q; what is not ours: %q", before, notes)
	}
	s.board.set(func() { s.board.open = []forge.Proposal{} })
	s.desk.Kick()
	if !s.board.until(t.Context(), func() bool { return s.board.pages["7.md"] == nil }) {
		t.Error("the page is still there")
	}
}
