package gitea

import (
	"testing"

	api "code.gitea.io/sdk/gitea"
)

// Once the branch is deleted, Gitea names the proposal's own ref in its place.
func TestHeadBranch(t *testing.T) {
	for _, c := range []struct{ label, ref, want string }{
		{"aplomb/set-x", "aplomb/set-x", "aplomb/set-x"},
		{"aplomb/set-x", "refs/pull/7/head", "aplomb/set-x"},
		{"", "refs/pull/7/head", ""},
	} {
		if got := proposal(&api.PullRequest{Head: &api.PRBranchInfo{Name: c.label, Ref: c.ref}}).HeadBranch; got != c.want {
			t.Errorf("%q at %q: %q, want %q", c.label, c.ref, got, c.want)
		}
	}
}
