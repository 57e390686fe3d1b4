package tofu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aplomb-dev/aplomb/schema"
)

// derive is a key of its own for one purpose.
func (d *Driver) derive(purpose, subject string) []byte {
	m := hmac.New(sha256.New, d.Key)
	_, _ = fmt.Fprintf(m, "aplomb tofu 1\n%s\n%s\n%s", purpose, d.Env, subject) // a hash takes everything
	return m.Sum(nil)
}

// passphrase is what OpenTofu's key provider is given for one stack.
func (d *Driver) passphrase(s *stack) string {
	return hex.EncodeToString(d.derive("state", s.name))
}

func (d *Driver) aead(s *stack) (cipher.AEAD, error) {
	block, err := aes.NewCipher(d.derive("secret", s.name))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealed are the values of secret variables as they were handed over at some
// apply, by what they stand for: a variable and its text in the spec. Values
// that nothing applied refers to any more are dropped with the next apply that
// ends well.
type sealed map[string][]byte

func sealedName(variable, text string) string {
	sum := sha256.Sum256([]byte(variable + "\n" + text))
	return hex.EncodeToString(sum[:16])
}

func (s *stack) sealed() (sealed, error) {
	all := sealed{}
	if err := s.load(secretsFile, &all); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return all, nil
}

// seal keeps the values of a spec's secret variables.
func (d *Driver) seal(s *stack, texts map[string]string, values map[string]schema.Secret) error {
	if len(values) == 0 {
		return nil
	}
	all, err := s.sealed()
	if err != nil {
		return err
	}
	box, err := d.aead(s)
	if err != nil {
		return err
	}
	for variable, value := range values {
		name := sealedName(variable, texts[variable])
		nonce := make([]byte, box.NonceSize())
		if _, err := rand.Read(nonce); err != nil {
			return err
		}
		all[name] = box.Seal(nonce, nonce, []byte(value.Reveal()), []byte(name))
	}
	return s.store(secretsFile, all)
}

// unseal answers the values of secret variables that are known; a text that
// holds no token is its own value.
func (d *Driver) unseal(s *stack, texts map[string]string) (map[string]schema.Secret, error) {
	known := map[string]schema.Secret{}
	if len(texts) == 0 {
		return known, nil
	}
	all, err := s.sealed()
	if err != nil {
		return nil, err
	}
	box, err := d.aead(s)
	if err != nil {
		return nil, err
	}
	for variable, text := range texts {
		if !schema.HasToken(text) {
			known[variable] = schema.NewSecret(text)
			continue
		}
		name := sealedName(variable, text)
		data, ok := all[name]
		if !ok || len(data) < box.NonceSize() {
			continue
		}
		value, err := box.Open(nil, data[:box.NonceSize()], data[box.NonceSize():], []byte(name))
		if err != nil {
			return nil, errors.New("a sealed secret cannot be opened with this environment's key")
		}
		known[variable] = schema.NewSecret(string(value))
	}
	return known, nil
}

// prune drops the values that these texts do not stand for.
func (s *stack) prune(texts map[string]string) error {
	all, err := s.sealed()
	if err != nil || len(all) == 0 {
		return err
	}
	keep := sealed{}
	for variable, text := range texts {
		if name := sealedName(variable, text); all[name] != nil {
			keep[name] = all[name]
		}
	}
	if len(keep) == len(all) {
		return nil
	}
	return s.store(secretsFile, keep)
}
