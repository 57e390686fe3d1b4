package git

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

// newPGP makes a key in this process, so that no gpg is needed.
func newPGP(t testing.TB, name string, cfg *packet.Config) *openpgp.Entity {
	t.Helper()
	if cfg == nil {
		cfg = &packet.Config{}
	}
	cfg.Algorithm = packet.PubKeyAlgoEdDSA
	e, err := openpgp.NewEntity(name, "", name+"@example.org", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// armoredKey is the public half of keys.
func armoredKey(t testing.TB, keys ...*openpgp.Entity) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	for _, e := range keys {
		err = errors.Join(err, e.Serialize(w))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// signedAs is a commit with the signature that sign makes over it.
func signedAs(t testing.TB, tree, message string, sign func(payload []byte) string) []byte {
	t.Helper()
	head := "tree " + tree + "\nauthor a <a@example.org> 1 +0000\ncommitter a <a@example.org> 1 +0000\n"
	sig := strings.ReplaceAll(strings.TrimSpace(sign([]byte(head+"\n"+message+"\n"))), "\n", "\n ")
	return []byte(head + "gpgsig " + sig + "\n\n" + message + "\n")
}

// by signs as one key, with a configuration, such as that of another time.
func by(t testing.TB, e *openpgp.Entity, cfg *packet.Config) func([]byte) string {
	return func(payload []byte) string {
		t.Helper()
		var b bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&b, []*openpgp.Entity{e}, bytes.NewReader(payload), &openpgp.SignParams{Config: cfg}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
}

const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// at is a configuration of a time.
func at(d time.Duration) *packet.Config {
	when := time.Now().Add(d)
	return &packet.Config{Time: func() time.Time { return when }}
}

// listed are the keys that may sign, as a file has them.
func listed(t testing.TB, keys ...*openpgp.Entity) *Signers {
	t.Helper()
	var text string
	for _, e := range keys { // a block each, as with cat
		text += "# a key\n" + armoredKey(t, e) + "\n"
	}
	k, err := ReadSigners(write(t, filepath.Join(t.TempDir(), "keys"), text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestPGP: who signed with a good key in the list is known by its identity; of
// any other signature the reason is told.
func TestPGP(t *testing.T) {
	past := at(-48 * time.Hour)
	brief := at(-48 * time.Hour)
	brief.KeyLifetimeSecs = 24 * 3600
	ana, ben, eve := newPGP(t, "ana", past), newPGP(t, "ben", past), newPGP(t, "eve", past)
	old := newPGP(t, "old", brief)
	lost, retired := newPGP(t, "lost", past), newPGP(t, "retired", past)
	for e, why := range map[*openpgp.Entity]packet.ReasonForRevocation{lost: packet.KeyCompromised, retired: packet.KeyRetired} {
		if err := e.Revoke(why, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	keys := listed(t, ana, ben, old, lost, retired)
	commit := func(e *openpgp.Entity, cfg *packet.Config) []byte { return signedAs(t, emptyTree, "x", by(t, e, cfg)) }
	good := commit(ben, nil)
	brieflySigned := at(-time.Hour)
	brieflySigned.SigLifetimeSecs = 60
	for what, c := range map[string]struct {
		raw  []byte
		who  string
		want error
	}{
		"the second in the list":         {good, "ben <ben@example.org>", nil},
		"some time ago":                  {commit(ana, at(-time.Hour)), "ana <ana@example.org>", nil},
		"a clock that is a little ahead": {commit(ana, at(time.Minute)), "ana <ana@example.org>", nil},
		"a clock that is a day ahead":    {commit(ana, at(24*time.Hour)), "", errOld},
		"a stranger":                     {commit(eve, nil), "", errOtherKey},
		"another message":                {bytes.Replace(good, []byte("\n\nx"), []byte("\n\ny"), 1), "", errForged},
		"before an expired key expired":  {commit(old, at(-47*time.Hour)), "", errOld},
		"a lost key, before it was lost": {commit(unrevoked(lost), at(-47*time.Hour)), "", errForged},
		"a retired key, before it was":   {commit(unrevoked(retired), at(-47*time.Hour)), "", errOld},
		"SHA-1":                          {signedAs(t, emptyTree, "x", weakly(t, ana)), "", errForged},
		"a signature that has expired":   {commit(ana, brieflySigned), "", errForged},
		"two in one armor":               {signedAs(t, emptyTree, "x", twice(t, ana, eve)), "", errOtherFormat},
		"over text":                      {signedAs(t, emptyTree, "x", asText(t, ana)), "", errOtherFormat},
		"no armor":                       {signedAs(t, emptyTree, "x", func([]byte) string { return beginPGP + "\n\n!\n" + endPGP }), "", errOtherFormat},
	} {
		who, err := keys.VerifyCommit(c.raw)
		if who != c.who || !errors.Is(err, c.want) || c.want != nil && !errors.Is(err, sources.ErrUnsigned) {
			t.Errorf("%s: %q, %v", what, who, err)
		}
	}
}

// TestPGPSubkeys: a subkey signs for its key, as long as it is good itself.
func TestPGPSubkeys(t *testing.T) {
	past := at(-48 * time.Hour)
	build := func(alter func(*openpgp.Entity)) (signed []byte, keys *Signers) {
		e := newPGP(t, "ana", past)
		if err := e.AddSigningSubkey(past); err != nil {
			t.Fatal(err)
		}
		signed = signedAs(t, emptyTree, "x", by(t, e, at(-time.Hour)))
		alter(e)
		return signed, listed(t, e)
	}
	sub := func(e *openpgp.Entity) *openpgp.Subkey {
		for i := range e.Subkeys {
			if e.Subkeys[i].PublicKey.PubKeyAlgo.CanSign() {
				return &e.Subkeys[i]
			}
		}
		t.Fatal("there is no subkey that signs")
		return nil
	}
	for what, c := range map[string]struct {
		alter func(*openpgp.Entity)
		want  error
	}{
		"good": {func(*openpgp.Entity) {}, nil},
		"revoked": {func(e *openpgp.Entity) {
			if err := sub(e).Revoke(packet.KeyRetired, "", nil); err != nil {
				t.Fatal(err)
			}
		}, errOld},
		"its key is revoked": {func(e *openpgp.Entity) {
			if err := e.Revoke(packet.KeyRetired, "", nil); err != nil {
				t.Fatal(err)
			}
		}, errOld},
		"not in the list": {func(e *openpgp.Entity) { e.Subkeys = nil }, errOtherKey},
	} {
		signed, keys := build(c.alter)
		if who, err := keys.VerifyCommit(signed); !errors.Is(err, c.want) || (who == "ana <ana@example.org>") != (c.want == nil) {
			t.Errorf("%s: %q, %v", what, who, err)
		}
	}
}

// unrevoked is a key as it was before.
func unrevoked(revoked *openpgp.Entity) *openpgp.Entity {
	e := *revoked
	e.Revocations = nil
	return &e
}

// weakly signs with SHA-1, which the library itself does no more.
func weakly(t testing.TB, e *openpgp.Entity) func([]byte) string {
	return func(payload []byte) string {
		t.Helper()
		key, ok := e.SigningKey(time.Now(), nil)
		if !ok {
			t.Fatal("no key to sign with")
		}
		sig := &packet.Signature{Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PublicKey.PubKeyAlgo, Hash: crypto.SHA1, CreationTime: time.Now(), IssuerKeyId: &key.PublicKey.KeyId}
		h := crypto.SHA1.New()
		_, _ = h.Write(payload)
		salted := false
		if err := sig.Sign(h, key.PrivateKey, &packet.Config{NonDeterministicSignaturesViaNotation: &salted}); err != nil {
			t.Fatal(err)
		}
		return armored(t, sig)
	}
}

// asText signs lines, whatever they end with.
func asText(t testing.TB, e *openpgp.Entity) func([]byte) string {
	return func(payload []byte) string {
		t.Helper()
		var b bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&b, []*openpgp.Entity{e}, bytes.NewReader(payload), &openpgp.SignParams{TextSig: true}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
}

// twice signs as two keys at once.
func twice(t testing.TB, keys ...*openpgp.Entity) func([]byte) string {
	return func(payload []byte) string {
		t.Helper()
		var b bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&b, keys, bytes.NewReader(payload), nil); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
}

func armored(t testing.TB, sig *packet.Signature) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.SignatureType, nil)
	if err = errors.Join(err, sig.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPGPFiles: what a file of keys may hold.
func TestPGPFiles(t *testing.T) {
	ana, ben := newPGP(t, "ana", nil), newPGP(t, "ben", nil)
	var secret bytes.Buffer
	w, err := armor.Encode(&secret, openpgp.PrivateKeyType, nil)
	if err = errors.Join(err, ana.SerializePrivate(w, nil), w.Close()); err != nil {
		t.Fatal(err)
	}
	one := armoredKey(t, ana)
	for what, c := range map[string]struct {
		text string
		keys int // negative: refused
	}{
		"one":                       {one, 1},
		"two in one block":          {armoredKey(t, ana, ben), 2},
		"two blocks":                {"# ana\n" + one + "\n# ben\n" + armoredKey(t, ben), 2},
		"the same twice":            {one + "\n" + one, -1},
		"a private key":             {secret.String(), -1},
		"both halves":               {one + "\n" + secret.String(), -1},
		"a line of ssh beside it":   {one + "\nana ssh-ed25519 AAAA\n", -1},
		"cut off":                   {one[:len(one)-60], -1},
		"no key in it":              {beginKey + "\n\n" + endKey + "\n", -1},
		"a signature instead":       {beginPGP + "\n\nwsB=\n" + endPGP + "\n", -1},
		"half a key, and no sum":    {beginKey + "\n\n" + strings.Split(one, "\n")[2] + "\n" + endKey + "\n", -1},
		"the binary form of a key?": {"\x99\x01" + one[40:], -1},
	} {
		k, err := ReadSigners(write(t, filepath.Join(t.TempDir(), "keys"), c.text))
		if (err != nil) != (c.keys < 0) || err == nil && len(k.pgp) != c.keys {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestGPG: real gpg and real git, a commit and a tag.
func TestGPG(t *testing.T) {
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("there is no gpg here")
	}
	home, err := os.MkdirTemp("", "gpg") // short, for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	gpg := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--passphrase", ""}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %s: %v", args, err)
		}
		return string(out)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	gpg("--quick-gen-key", "Ana <ana@example.org>", "ed25519", "sign", "1y")
	keys := write(t, filepath.Join(t.TempDir(), "keys"), gpg("--armor", "--export", "ana@example.org"))
	program := write(t, filepath.Join(t.TempDir(), "gpg"), fmt.Sprintf("#!/bin/sh\nexec gpg --homedir %s --batch \"$@\"\n", home))
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	work := gittest.New(t)
	work.Git("config", "gpg.program", program)
	work.Git("config", "user.signingkey", "ana@example.org")
	work.Commit("unsigned", "a", "0")
	s := open(t, Config{URL: work.Dir, Signers: []string{keys}})
	if _, err := try(t, s); !errors.Is(err, errNoSignature) {
		t.Errorf("unsigned: %v", err)
	}
	work.Git("config", "commit.gpgsign", "true")
	work.Commit("signed", "a", "1")
	if snap := take(t, s); snap.Revision.Signer != "Ana <ana@example.org>" {
		t.Errorf("signed by %q", snap.Revision.Signer)
	}
	work.Git("tag", "-s", "-m", "yes", "v1")
	k, err := ReadSigners(keys)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := k.VerifyTag([]byte(work.Git("cat-file", "tag", "v1") + "\n")); err != nil || who != "Ana <ana@example.org>" {
		t.Errorf("the tag: %q, %v", who, err)
	}
}
