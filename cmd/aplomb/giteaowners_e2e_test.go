//go:build e2e

package main

import (
	"os"
	"strings"
)

// forumOwners makes one file's content cara's, who may not write.
const forumOwners = `rules:
  - match: {paths: [owned.yaml], fields: [/content]}
    owners: ["@cara"]
`

// owned: what somebody owns waits for them, whoever else reviewed it; and their
// word, which is no review, lets nothing else through.
func (f *forum) owned() {
	f.Helper()
	number, head := f.propose("owned", "prod/owned.yaml", file("owned", "cara's"), "prod/free.yaml", file("free", "nobody's"))
	f.planned(head, "success 2 changes, 2 held")
	if c := f.comments(number); len(c) != 1 || !strings.Contains(c[0], "1 review of <code>&#64;cara</code> (owns <code>&#42;/&#42;.content in owned.yaml</code>)") {
		f.Errorf("%q", c)
	}
	f.gitea.Review(f.T, "cara", f.repo, number, "APPROVED")
	merge := f.gitea.Merge(f.T, "ben", f.repo, number)
	f.until("held", func() bool {
		out, _ := f.aplomb("audit")
		status, _ := f.aplomb("status")
		return strings.Contains(out, "cara") && strings.Contains(status, merge[:7]) && strings.Contains(status, "wants approval: a review")
	})
	if out, _ := f.aplomb("status"); strings.Contains(out, "a review of @cara") {
		f.Errorf("her yes does not count:\n%s", out)
	}
	for _, name := range []string{"owned", "free"} {
		if _, err := os.Stat(f.path("root/" + name + ".txt")); err == nil {
			f.Errorf("%s lives, and only its owner agreed", name)
		}
	}
	f.gitea.Say(f.T, "ben", f.repo, number, "aplomb approve "+between(f.comments(number)[0], "digest <code>", "</code>"))
	f.applied(merge, "success")
	if !f.lives("owned", "cara's") {
		f.Error("what was approved does not live")
	}

	number, head = f.propose("alone", "prod/owned.yaml", file("owned", "ben's"))
	f.planned(head, "success 1 change, 1 held")
	f.gitea.Review(f.T, "ben", f.repo, number, "APPROVED")
	merge = f.gitea.Merge(f.T, "ben", f.repo, number)
	f.until("held for its owner", func() bool {
		status, _ := f.aplomb("status")
		return strings.Contains(status, merge[:7]) && strings.Contains(status, "wants approval: a review of @cara (owns") && !strings.Contains(status, "a review;")
	})
	f.gitea.Say(f.T, "cara", f.repo, number, "aplomb approve "+between(f.comments(number)[0], "digest <code>", "</code>"))
	f.applied(merge, "success")
	if !f.lives("owned", "ben's") {
		f.Error("what its owner approved does not live")
	}
}
