// Package plan is the plain data of a plan and the pure functions over it: the
// resolution of references, the digest that an approval is given for, and
// Covers, which decides whether an approval still holds. It neither observes
// nor applies anything.
package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// digestFormat is raised whenever what a digest covers, or how it is written,
// changes; old approvals then hold no longer.
const digestFormat = 1

// Masked is a change as an approval keeps it: nothing of it is secret, and
// everything that the digest covers is in it.
type Masked struct {
	// Declared is a hash of what was declared, references as text: what is not
	// known yet is approved as what that will answer, and nothing else. It is no
	// part of the digest.
	Declared string `json:"declared,omitempty"`

	Environment string          `json:"environment"` // id
	ID          schema.ID       `json:"id"`
	Handle      string          `json:"handle"`
	Target      string          `json:"target"` // the target's own identity
	Action      schema.Action   `json:"action"`
	Diff        []drivers.Delta `json:"diff,omitempty"`
	Before      json.RawMessage `json:"before,omitempty"` // of delete and replace
}

// Mask takes what a digest covers out of a change.
func Mask(environment, target string, c drivers.Change) Masked {
	m := Masked{Environment: environment, ID: c.ID, Handle: c.Handle, Target: target, Action: c.Action}
	for _, d := range c.Diff {
		d.Before, d.After = Canonical(d.Before), Canonical(d.After)
		m.Diff = append(m.Diff, d)
	}
	slices.SortFunc(m.Diff, func(a, b drivers.Delta) int {
		return bytes.Compare([]byte(a.Path), []byte(b.Path))
	})
	if c.Action.Destroys() {
		m.Before = Canonical(c.Before)
	}
	return m
}

// Declared is Masked.Declared of a declaration.
func Declared(r *schema.Resource) string {
	h := sha256.New()
	_, _ = h.Write(Canonical(r.Spec))
	_, _ = h.Write([]byte("\n" + r.Files.Hash()))
	return hex.EncodeToString(h.Sum(nil))
}

// Digest is SHA-256, in hex, over the versioned canonical JSON of m.
func (m Masked) Digest() string {
	m.Declared = ""
	b, err := json.Marshal(struct {
		Format int `json:"format"`
		Masked
	}{digestFormat, m})
	if err != nil {
		// Only a malformed RawMessage can fail, and Canonical makes none; a
		// digest of nothing would be one that anything matches.
		panic("plan: digest of " + m.ID.String() + ": " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Digest is a plan's digest: over its sorted change digests. "" for no change.
func Digest(changes []string) string {
	if len(changes) == 0 {
		return ""
	}
	sorted := slices.Clone(changes)
	slices.Sort(sorted)
	h := sha256.New()
	for _, d := range sorted {
		_, _ = h.Write([]byte(d + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Canonical writes JSON with sorted keys, without spaces and with numbers as
// they are; what is no JSON becomes a JSON string of itself.
func Canonical(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	if plain(raw) {
		return raw
	}
	var v any = strings.ToValidUTF8(string(raw), "\uFFFD")
	if json.Valid(raw) {
		var err error
		if v, err = decode(raw); err != nil {
			return nil
		}
	}
	out, err := encode(v)
	if err != nil {
		return nil
	}
	return out
}

// plain says that raw is a word, a number or a string that is written in one
// way only, as most values of fields are: it is canonical as it stands.
func plain(raw json.RawMessage) bool {
	first, last := raw[0], raw[len(raw)-1]
	switch {
	case first == '{', first == '[', first <= ' ', last <= ' ':
		return false
	case first != '"':
		return json.Valid(raw)
	case len(raw) == 1 || last != '"':
		return false
	}
	for _, c := range raw[1 : len(raw)-1] {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func decode(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
