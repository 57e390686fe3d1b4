//go:build e2e

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestGiteaGates: on a real forge, what is not signed fails its status and is
// not followed once it is merged; what is signed and reviewed waits for its
// window, until an approver says otherwise.
func TestGiteaGates(t *testing.T) {
	f := newForum(t)
	f.until("held", func() bool { out, _ := f.aplomb("status"); return strings.Contains(out, "wants approval: a review") })
	out, _ := f.aplomb("plan", "-o", "json")
	if out, code := f.aplomb("approve", between(out, `"digest": "`, `"`), "--why", "the first"); code != codeGood {
		t.Fatal(out)
	}
	f.applied(f.work.Head(), "success")

	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ana", "-f", f.path("ana")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(f.path("ana.pub"))
	f.must(err)
	f.must(os.WriteFile(f.path("signers"), []byte("ana "+string(public)), 0o600))
	config, err := os.ReadFile(f.path("aplomb.yaml"))
	f.must(err)
	gated := strings.Replace(string(config), "username: aplomb,", "username: aplomb, signers: ["+f.path("signers")+"],", 1)
	gated = strings.Replace(gated, "{reviews: 1, ", `{reviews: 1, signed: true, windows: [{cron: "0 0 29 2 *", for: 1m}], `, 1)
	f.must(os.WriteFile(f.path("aplomb.yaml"), []byte(gated), 0o600))
	f.until("gated", func() bool {
		out, _ := os.ReadFile(f.path("data/configuration.log"))
		return strings.Contains(string(out), "environments.prod.gates.signed")
	})

	number, head := f.propose("unsigned", "prod/two.yaml", file("two", "second"))
	f.planned(head, "failure it is not signed by a key that may: it has no signature")
	if c := f.comments(number); len(c) != 1 || !strings.Contains(c[0], "**Not signed**") || !strings.Contains(c[0], "1 create (held)") || !strings.Contains(c[0], "window opens") {
		t.Errorf("%q", c)
	}
	f.gitea.Review(t, "ben", f.repo, number, "APPROVED")
	f.gitea.Merge(t, "ben", f.repo, number)
	f.until("not followed", func() bool {
		out, _ := f.aplomb("status")
		return strings.Contains(out, "is not signed by a key that may: it has no signature")
	})

	f.work.Git("config", "gpg.format", "ssh")
	f.work.Git("config", "user.signingkey", f.path("ana"))
	f.work.Git("config", "commit.gpgsign", "true")
	number, head = f.propose("signed", "prod/three.yaml", file("three", "third"))
	f.planned(head, "success 2 changes, 2 held") // what it is merged into is there, unsigned as it is
	f.gitea.Review(t, "ben", f.repo, number, "APPROVED")
	tip := f.gitea.FastForward(t, "ben", f.repo, number)
	if tip != head {
		t.Errorf("the tip is %s, the head was %s", tip, head)
	}
	f.until("reviewed, and waiting", func() bool {
		out, _ := f.aplomb("status")
		return strings.Contains(out, tip[:7]) && strings.Count(out, "  window opens") == 2
	})
	f.until("told", func() bool {
		return strings.HasPrefix(f.status(tip, "aplomb/apply: prod"), "pending 1 converged, 2 held: window opens")
	})
	out, _ = f.aplomb("status", "-o", "json")
	digest := between(out, `"planDigest": "`, `"`)
	if out, code := f.aplomb("approve", digest, "--why", "I want it"); code != codeRefused {
		t.Errorf("%d: %s", code, out)
	}
	if out, code := f.aplomb("approve", digest, "--outside-window", "--why", "the shop is down"); code != codeGood {
		t.Fatalf("%d: %s", code, out)
	}
	f.applied(tip, "success")
	if !f.lives("two", "second") || !f.lives("three", "third") {
		t.Error("what is green does not live")
	}
}

// rebase: two proposals that touch one thing.
func (f *forum) rebase() {
	f.Helper()
	a, heada := f.propose("five", "prod/one.yaml", file("one", "of five"))
	b, headb := f.propose("six", "prod/one.yaml", file("one", "of six"))
	f.planned(heada, "success 1 change, 1 held")
	f.planned(headb, "success 1 change, 1 held")
	f.gitea.Review(f.T, "ben", f.repo, a, "APPROVED")
	f.applied(f.gitea.Merge(f.T, "ben", f.repo, a), "success")
	f.planned(headb, "failure needs rebase")
	if c := f.comments(b); len(c) != 1 || !strings.Contains(c[0], "prod/one.yaml") {
		f.Errorf("%q", c)
	}
}
