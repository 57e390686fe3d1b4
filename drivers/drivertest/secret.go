package drivertest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

const noPlaintext = "No plaintext secret is in State, Change, logs, errors or files"

// A canary has every character that some encoding writes otherwise.
func canary(n int) string { return fmt.Sprintf(`c4n4ry%d "k&y" <a/b+c>=é%%`, n) }

func (b *bench) fingerprint(plaintext string) string {
	if b.h.Fingerprint != nil {
		return b.h.Fingerprint([]byte(plaintext))
	}
	return Fingerprint([]byte(plaintext))
}

// wantSecret declares A with a secret in its field, and gives what Apply needs.
func (b *bench) wantSecret(it *drivers.Item, plaintext, fingerprint string) map[schema.Path]schema.Secret {
	b.Helper()
	b.want(it, with(b.T, b.s.spec(b.s.A, it.ID.Name), b.s.Secret, schema.Token(fingerprint)))
	it.Want.Secrets = map[schema.Path]string{b.s.Secret: "@{test.kind/other.secret}"}
	return map[schema.Path]schema.Secret{b.s.Secret: schema.NewSecret(plaintext)}
}

// secretField: a secret goes in and is nowhere; the same one again is no
// change, another one is.
func secretField(b *bench) {
	b.listening = true
	it := b.sample(b.s.A)
	secrets := b.wantSecret(it, canary(1), b.fingerprint(canary(1)))
	b.first(b.converge(it, secrets), schema.Create)
	b.settled(it)
	b.restart()
	b.settled(it)

	secrets = b.wantSecret(it, canary(2), b.fingerprint(canary(2)))
	r := b.converge(it, secrets)
	if !slices.ContainsFunc(r.first.Diff, func(d drivers.Delta) bool { return b.s.Secret.Within(d.Path) || d.Path.Within(b.s.Secret) }) {
		b.blame("Diff is complete", "the secret moved; the diff names %q", paths(r.first.Diff))
	}
	b.settled(it)
	if b.e.Edit != nil {
		b.e.Edit(b.T, it.Handle, b.s.spec(b.s.A, it.ID.Name))
		b.converge(it, secrets)
		b.settled(it)
	}
	b.provoke(it, secrets)
	b.noLeak(canary(1))
	b.noLeak(canary(2))
	it.Want = nil
	b.converge(it, nil)
	b.noLeak(canary(1))
	b.noLeak(canary(2))
}

// provoke asks for errors while a secret is in hand.
func (b *bench) provoke(it *drivers.Item, secrets map[schema.Path]schema.Secret) {
	b.Helper()
	fresh := *it
	fresh.Last, fresh.Handle = nil, ""
	if address, _ := b.d.Address(it.ID.Kind, it.ID.Name, it.Want.Spec); address == "" {
		return // it would be made twice
	}
	c, err := b.d.Plan(b.Context(), fresh, drivers.State{Handle: it.Handle})
	if b.note(err) == nil {
		c.Secrets, c.Nonce = secrets, "nonce-provoke"
		_, err = b.d.Apply(b.Context(), c)
		_ = b.note(err)
		c.Secrets = nil
		_, err = b.d.Apply(b.Context(), c)
		_ = b.note(err)
	}
	b.converge(it, secrets)
}

// secretToken: a token is a change token, not always the fingerprint of the
// whole text: it may stand for an engine's path and version.
func secretToken(b *bench) {
	b.listening = true
	it := b.sample(b.s.A)
	secrets := b.wantSecret(it, canary(3), "path/of/it#7")
	b.converge(it, secrets)
	b.settled(it)
	b.restart()
	b.settled(it)
	secrets = b.wantSecret(it, canary(4), "path/of/it#8")
	if _, c := b.plan(it); c.Action == schema.None {
		b.blame("a secret stands as schema.Token", "the token moved, and the action is none")
	}
	b.converge(it, secrets)
	b.settled(it)
	b.noLeak(canary(3))
	b.noLeak(canary(4))
}

// secretOutput: it is told by fingerprint only, and revealed as what the
// fingerprint told.
func secretOutput(b *bench) {
	b.listening = true
	it := b.sample(b.s.A)
	b.converge(it, nil)
	for _, name := range b.s.Secrets {
		before := b.look(it)
		o, has := before.Outputs[name]
		if !has || !o.Secret {
			b.blame("a secret has no Value", "output %s is not told as secret: %+v", name, o)
		}
		plaintext := b.reveal(it, name, o.Fingerprint)
		if plaintext == "" {
			b.blame("The value must be the one whose fingerprint State.Outputs told", "%s is empty", name)
		}
		b.restart()
		after := b.look(it)
		if after.Outputs[name].Fingerprint != o.Fingerprint || b.reveal(it, name, o.Fingerprint) != plaintext {
			b.blame("The value must be the one whose fingerprint State.Outputs told", "a restart moved %s", name)
		}
		b.noLeak(plaintext)
	}
	r, _ := drivers.As[drivers.Revealer](b.d)
	if _, err := r.Reveal(b.Context(), *it, b.s.Secrets[0], "of-another"); !errors.Is(b.note(err), drivers.ErrStale) {
		b.blame("if there is only another by now, the error is ErrStale", "%v", err)
	}
	if _, err := r.Reveal(b.Context(), *it, "no-such-output", "none"); b.note(err) == nil {
		b.blame("Revealer is a Driver that has secret outputs", "an output that does not exist was revealed")
	}
}

func (b *bench) reveal(it *drivers.Item, output, fingerprint string) string {
	b.Helper()
	r, ok := drivers.As[drivers.Revealer](b.d)
	if !ok {
		b.blame("Revealer is a Driver that has secret outputs", "it has %s and cannot reveal it", output)
	}
	var s schema.Secret
	b.until("revealing "+output, func() bool {
		var err error
		s, err = r.Reveal(b.Context(), *it, output, fingerprint)
		if b.note(err) != nil && !passing(err) {
			b.blame("Reveal is called only between Begin and Apply of a dependent", "%v", err)
		}
		return err == nil
	})
	return s.Reveal()
}

// noLeak searches everything that calls said, logged and wrote.
func (b *bench) noLeak(plaintext string) {
	b.Helper()
	forms := encodings(plaintext)
	search := func(where string, text []byte) {
		b.Helper()
		for form, needle := range forms {
			if bytes.Contains(text, []byte(needle)) {
				b.blame(noPlaintext, "%s holds one, as %s", where, form)
			}
		}
	}
	b.mu.Lock()
	said, calls := slices.Clone(b.said), slices.Clone(b.calls)
	b.mu.Unlock()
	for _, s := range said {
		search("a State or Change", []byte(s))
	}
	for _, err := range calls {
		search("an error", []byte(fmt.Sprintf("%v %+v %q %#v", err, err, err.Error(), err)))
		search("a hint", []byte(drivers.HintOf(err)))
	}
	if b.e.Log != nil {
		search("the log", []byte(b.e.Log()))
	}
	for _, root := range b.e.Private {
		for path, data := range files(b.T, root) {
			search("the file "+path, data)
			search("the name of the file "+path, []byte(path))
		}
	}
}

// encodings are the forms in which a plaintext may hide.
func encodings(plaintext string) map[string]string {
	quoted, _ := json.Marshal(plaintext) // a string always marshals
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(plaintext)
	forms := map[string]string{
		"it is": plaintext, "hex": hex.EncodeToString([]byte(plaintext)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(plaintext))),
		"a URL's query": url.QueryEscape(plaintext), "a URL's path": url.PathEscape(plaintext),
		"JSON": strings.Trim(string(quoted), `"`), "JSON without HTML": strings.Trim(strings.TrimSpace(plain.String()), `"`),
		"Go": strings.Trim(fmt.Sprintf("%q", plaintext), `"`), "bytes": strings.Trim(fmt.Sprint([]byte(plaintext)), "[]"),
	}
	for name, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		for shift := range 3 { // wherever it begins in what was encoded
			text := e.EncodeToString([]byte(strings.Repeat("x", shift) + plaintext))
			from := []int{0, 2, 3}[shift]
			forms[fmt.Sprintf("%s, shifted by %d", name, shift)] = text[from : len(text)-2]
		}
	}
	return forms
}

// files are the contents of a file, or of all below a folder; what is no
// regular file has none.
func files(t testing.TB, root string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // what comes and goes meanwhile
		}
		if data, err := os.ReadFile(path); err == nil {
			all[path] = data
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
