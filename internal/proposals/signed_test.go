package proposals

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Where heads have to be signed, the status of one that is not fails, and the
// comment says why, beside the plan; where they need not be, nothing is said.
func TestUnsignedHead(t *testing.T) {
	key := filepath.Join(t.TempDir(), "ana")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ana", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "allowed")
	if err := os.WriteFile(list, []byte("ana "+string(public)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []bool{true, false} {
		s := newStage(t, func(d *Desk) { d.Signed = wanted }, list)
		head := s.propose("7", nil, "a.yaml", "2")
		if !wanted {
			s.status(head, "success aplomb/plan: prod 2 changes, update at worst")
			if c := s.comment("7"); strings.Contains(c, "igned") {
				t.Error(c)
			}
			continue
		}
		s.status(head, "failure aplomb/plan: prod it is not signed by a key that may: it has no signature")
		if c := s.comment("7"); !strings.Contains(c, "2 update") || !strings.Contains(c, "**Not signed**: <code>"+head[:7]+"</code> <code>it is not signed by a key that may&#58; it has no signature</code>") {
			t.Error(c)
		}
		s.repo.Git("config", "gpg.format", "ssh")
		s.repo.Git("config", "user.signingkey", key)
		s.repo.Git("config", "commit.gpgsign", "true")
		s.status(s.propose("7", nil, "a.yaml", "3"), "success aplomb/plan: prod 2 changes, update at worst")
		if c := s.comment("7"); strings.Contains(c, "igned") {
			t.Error(c)
		}
	}
}
