package plain_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// The pages of as many proposals as are planned, each as long as may be, push
// neither each other nor the statuses from the branch.
func TestRoomForAll(t *testing.T) {
	const planned = 200
	v := newTown(t, false)
	p := v.connect(t)
	r := must[*git.Reporter](t)(git.NewReporter(v.report))
	t.Cleanup(func() { _ = r.Close() })
	page := bytes.Repeat([]byte("x"), p.Limits().Comment)
	first := forge.Status{Context: "aplomb/plan: prod", State: forge.Success, Description: "1 change"}
	if err := p.Status(t.Context(), v.work.Head(), first); err != nil {
		t.Fatal(err)
	}
	err := r.Revise(t.Context(), "prod", "pages", func(files map[string][]byte) error {
		for i := range planned {
			files[fmt.Sprintf("a%d.md", i)] = page // before statuses.json
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	second := forge.Status{Context: "aplomb/apply: prod", State: forge.Success}
	if err := p.Status(t.Context(), v.work.Head(), second); err != nil {
		t.Fatal(err)
	}
	files := must[map[string][]byte](t)(r.Pages(t.Context(), "prod"))
	if said := string(files["statuses.json"]); len(files) != planned+1 || !strings.Contains(said, first.Context) || !strings.Contains(said, second.Context) {
		t.Errorf("%d pages, and %s", len(files)-1, said)
	}
}

// A title that turns the order of letters round does so to nothing else: what a
// page says of who signed stands there as it is.
func TestTurnedTitle(t *testing.T) {
	v := newTown(t, false)
	p := v.connect(t)
	v.work.Git("checkout", "-q", "-B", "topic", "main")
	v.work.Commit("web\u202e.ob yb dengis\u200b", "f", "1")
	v.push("topic:proposals/w\u202eeb")
	all := must[[]forge.Proposal](t)(p.Proposals(t.Context(), "main"))
	if len(all) != 1 || strings.ContainsRune(all[0].Title, '\u202e') {
		t.Fatalf("%+v", all)
	}
	if err := p.Comment(t.Context(), all[0], "plan/prod", "body"); err != nil {
		t.Fatal(err)
	}
	if page := v.page("w\u202eeb.md"); !strings.Contains(page, `# <code>w&#92;u202eeb</code>`) || strings.ContainsAny(page, "\u202e\u200b") {
		t.Errorf("%s", page)
	}
}
