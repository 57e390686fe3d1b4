package git

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

// sshKey makes a key with ssh-keygen, and answers its file and its public half.
func sshKey(t testing.TB, name string, args ...string) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	cmd := exec.Command("ssh-keygen", append([]string{"-q", "-N", "", "-C", name, "-f", file}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	b, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(b))
}

// signs makes a repository sign each commit with a key.
func signs(r *gittest.Repo, key string) {
	r.Git("config", "gpg.format", "ssh")
	r.Git("config", "user.signingkey", key)
	r.Git("config", "commit.gpgsign", "true")
}

// TestSigners: a tip is followed only if a key of the list has signed it, as
// real git and ssh-keygen do; the one before stays in force.
func TestSigners(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		ana, anas := sshKey(t, "ana", "-t", "ed25519")
		eve, _ := sshKey(t, "eve", "-t", "ed25519")
		rsa, rsas := sshKey(t, "ben", "-t", "rsa", "-b", "2048")
		cfg := repo.cfg
		cfg.Signers = []string{write(t, filepath.Join(t.TempDir(), "allowed"), "# security\nana@example.org "+anas+"\n"),
			write(t, filepath.Join(t.TempDir(), "more"), "ben@example.org namespaces=\"file,git\" "+rsas+"\n")}
		s := open(t, cfg)
		refused := func(what, words string) {
			t.Helper()
			_, err := try(t, s)
			if !errors.Is(err, sources.ErrUnsigned) || !strings.Contains(err.Error(), words) || HintOf(err) == "" {
				t.Errorf("%s: %v", what, err)
			}
		}
		repo.work.Commit("unsigned", "a", "0")
		repo.push("main")
		refused("unsigned", errNoSignature.Error())
		signs(repo.work, ana)
		repo.work.Commit("ana", "a", "1")
		repo.push("main")
		first := take(t, s)
		wantFile(t, first, "a", "1")
		if rev, err := s.Head(t.Context()); err != nil || rev.Signer != "ana@example.org" || first.Revision.Signer != rev.Signer {
			t.Errorf("signed by %q and %q, %v", rev.Signer, first.Revision.Signer, err)
		}
		signs(repo.work, eve)
		repo.work.Commit("eve", "a", "2")
		repo.push("main")
		refused("a stranger", errOtherKey.Error())
		if _, err := s.Fetch(t.Context(), first.Revision); err != nil {
			t.Errorf("what was in force: %v", err)
		}
		signs(repo.work, rsa)
		repo.work.Commit("ben\n\ngpgsig of nothing\n", "a", "3")
		repo.push("main")
		wantFile(t, take(t, s), "a", "3")

		write(t, cfg.Signers[1], "ben@example.org namespaces=\"file\" "+rsas+"\n")
		repo.work.Commit("ben again", "a", "4")
		repo.push("main")
		if _, err := try(t, s); err == nil || !strings.Contains(err.Error(), "no key for commits") {
			t.Errorf("a key for files: %v", err)
		}
	})
}

// TestForged: a signature of one commit is none of another.
func TestForged(t *testing.T) {
	key, public := sshKey(t, "ana", "-t", "ed25519")
	work := gittest.New(t)
	signs(work, key)
	work.Commit("one", "a", "1")
	s := open(t, Config{URL: work.Dir, Signers: []string{write(t, filepath.Join(t.TempDir(), "allowed"), "ana "+public+"\n")}})
	keys, err := ReadSigners(s.cfg.Signers...)
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte(work.Git("cat-file", "commit", "HEAD") + "\n")
	if who, err := keys.VerifyCommit(raw); err != nil || who != "ana" {
		t.Fatal(err)
	}
	forged := bytes.Replace(raw, []byte("\none"), []byte("\ntwo"), 1)
	if _, err := keys.VerifyCommit(forged); !errors.Is(err, errForged) {
		t.Errorf("another message: %v", err)
	}
	twice := bytes.Replace(raw, []byte("gpgsig "), []byte("gpgsig x\ngpgsig "), 1)
	if _, err := keys.VerifyCommit(twice); !errors.Is(err, errNoSignature) {
		t.Errorf("two signatures: %v", err)
	}
	// The same bytes are signed, but a reader takes a commit without parents, or
	// without its second one, from it: it stops at what it does not expect.
	signed, signature := unsign(raw)
	own := "gpgsig " + strings.ReplaceAll(strings.TrimRight(string(signature), "\n"), "\n", "\n ") + "\n"
	for early, of := range map[string][]byte{own: signed, "gpgsig-sha256 x\n": raw} {
		moved := bytes.Replace(of, []byte("\nauthor "), []byte("\n"+early+"author "), 1)
		if payload, _ := unsign(moved); !bytes.Equal(payload, signed) {
			t.Fatalf("%q is signed, not %q", payload, signed)
		}
		if _, err := keys.VerifyCommit(moved); !errors.Is(err, errNoSignature) {
			t.Errorf("%q before the author: %v", early, err)
		}
	}
	for _, format := range []string{"PGP SIGNATURE", "SIGNED MESSAGE"} {
		other := bytes.ReplaceAll(raw, []byte("SSH SIGNATURE"), []byte(format))
		if _, err := keys.VerifyCommit(other); !errors.Is(err, errOtherFormat) || !errors.Is(err, sources.ErrUnsigned) {
			t.Errorf("%s: %v", format, err)
		}
	}
	take(t, s)
}

func TestParseSigners(t *testing.T) {
	_, key := sshKey(t, "ana", "-t", "ed25519")
	for text, want := range map[string]int{
		"ana " + key: 1, "# x\n\n*@example.org " + key + "\n\"a b\" " + key: 2, `ana namespaces="git" ` + key: 1,
		"": -1, "ana": -1, key: -1, "ana cert-authority " + key: -1, `ana valid-before="20200101" ` + key: -1,
		`ana namespaces="file" ` + key: -1, "ana ssh-ed25519 AAAA": -1, "ana " + key + "\nben": -1,
	} {
		if keys, err := parseSigners(text); len(keys) != max(want, 0) || (err != nil) != (want < 0) {
			t.Errorf("%q: %d keys, %v", text, len(keys), err)
		}
	}
}

// TestSignedTag: what holds for a commit holds for an annotated tag.
func TestSignedTag(t *testing.T) {
	key, public := sshKey(t, "ana", "-t", "ed25519")
	work := gittest.New(t)
	signs(work, key)
	work.Commit("one", "a", "1")
	work.Git("tag", "-s", "-m", "approved\n\naplomb approve 0123456789ab", "v1")
	work.Git("tag", "-a", "-m", "unsigned", "v2")
	keys, err := ReadSigners(write(t, filepath.Join(t.TempDir(), "allowed"), "ana "+public+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte(work.Git("cat-file", "tag", "v1") + "\n")
	if who, err := keys.VerifyTag(raw); err != nil || who != "ana" {
		t.Fatalf("%q, %v", who, err)
	}
	head, signature, _ := bytes.Cut(raw, []byte(beginSSH))
	signature = append([]byte(beginSSH), signature...)
	for what, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"unsigned":            {[]byte(work.Git("cat-file", "tag", "v2") + "\n"), errNoSignature},
		"another name":        {bytes.Replace(raw, []byte("\ntag v1\n"), []byte("\ntag v9\n"), 1), errForged},
		"two signatures":      {bytes.Join([][]byte{head, signature, signature}, nil), errNoSignature},
		"more behind it":      {append(bytes.Clone(raw), "more\n"...), errOtherFormat},
		"one in the headers":  {bytes.Replace(raw, []byte("\ntag v1\n"), []byte("\ntag v1\ngpgsig x\n"), 1), errNoSignature},
		"a commit's, as tag":  {[]byte(work.Git("cat-file", "commit", "HEAD") + "\n"), errNoSignature},
		"nothing":             {nil, errNoSignature},
		"a signature, alone":  {signature, errNoSignature},
		"a header's own line": {bytes.Replace(raw, []byte("\ntag v1\n"), append([]byte("\n"), signature...), 1), errForged},
	} {
		if _, err := keys.VerifyTag(c.raw); !errors.Is(err, c.want) || !errors.Is(err, sources.ErrUnsigned) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

// TestSignedProposal: of a proposal it is told why nobody who may has signed its
// head; a list that cannot be read is no reason to go on.
func TestSignedProposal(t *testing.T) {
	key, public := sshKey(t, "ana", "-t", "ed25519")
	r := proposal(t, map[string]string{"a": "1"}, map[string]string{"b": "1"}, map[string]string{"c": "1"})
	list := write(t, filepath.Join(t.TempDir(), "allowed"), "ana "+public+"\n")
	s := open(t, Config{URL: r.Dir, Branch: "main", Signers: []string{list}})
	if m := merged(t, s, r, "refs/heads/topic"); m.Unsigned != "it is not signed by a key that may: it has no signature" || m.Snapshot == nil {
		t.Errorf("unsigned: %+v", m)
	}
	r.Git("checkout", "-q", "topic")
	signs(r, key)
	r.Commit("signed", "d", "1")
	if m := merged(t, s, r, "refs/heads/topic"); m.Unsigned != "" || m.Head.Signer != "ana" {
		t.Errorf("signed: %+v", m)
	}
	write(t, list, "ana\n")
	if m, err := s.Merge(t.Context(), "refs/heads/topic", r.Git("rev-parse", "topic")); err == nil {
		t.Errorf("with a broken list: %+v", m)
	}
	if m := merged(t, open(t, Config{URL: r.Dir, Branch: "main"}), r, "refs/heads/topic"); m.Unsigned != "" {
		t.Errorf("without a list: %+v", m)
	}
}

// FuzzSigned: whatever a commit, a tag and a list hold, nothing passes without a
// signature, and taking them apart loses nothing but signatures.
func FuzzSigned(f *testing.F) {
	f.Add([]byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n\nx\n"), "ana ssh-ed25519 AAAA")
	f.Add([]byte("gpgsig-sha256 x\n y\ngpgsig z\n"), "\"a b\" namespaces=\"git\" ssh-rsa AAAA")
	f.Add([]byte("object 0\n\nx\n"+beginPGP+"\n\nwsB=\n"+endPGP+"\n"), beginKey+"\n\nxjM=\n"+endKey)
	_, key := sshKey(f, "ana", "-t", "ed25519")
	pgp := armoredKey(f, newPGP(f, "eve", nil))
	ours, err := ReadSigners(write(f, filepath.Join(f.TempDir(), "ssh"), "ana "+key), write(f, filepath.Join(f.TempDir(), "pgp"), pgp))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("x"), pgp)
	f.Fuzz(func(t *testing.T, raw []byte, list string) {
		_, _ = parseSigners(list)
		_ = (&Signers{}).addPGP(list)
		payload, signature := unsign(raw)
		if !bytes.Contains(raw, []byte("gpgsig")) && (!bytes.Equal(payload, raw) || signature != nil) {
			t.Fatalf("%q became %q", raw, payload)
		}
		if payload, signature = unsignTag(raw); !bytes.Equal(slices.Concat(payload, signature), raw) {
			t.Fatalf("%q became %q and %q", raw, payload, signature)
		}
		if _, err := ours.VerifyCommit(raw); err == nil {
			t.Fatalf("%q passes", raw)
		}
		if _, err := ours.VerifyTag(raw); err == nil {
			t.Fatalf("%q passes as a tag", raw)
		}
	})
}
