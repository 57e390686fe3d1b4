package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"filippo.io/age/armor"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

const rotationPath schema.Path = "/!rotation" // the value is made anew because it is due

type secretSpec struct {
	Length   int    `json:"length"`
	Alphabet string `json:"alphabet"`
	Age      string `json:"age"`
	Rotate   string `json:"rotate"`
}

func specOf(raw json.RawMessage, handle string) (secretSpec, error) {
	s := secretSpec{Length: 32, Alphabet: "alphanumeric"}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, driverkit.Refuse("read", handle, err, "")
	}
	if s.Age != "" {
		return secretSpec{Age: s.Age}, nil
	}
	if s.Rotate != "" {
		if _, err := driverkit.Duration(s.Rotate); err != nil {
			return s, driverkit.Refuse("read", handle, fmt.Errorf("rotate: %w", err), "")
		}
	}
	if _, ok := alphabets[s.Alphabet]; !ok || s.Length < 8 || s.Length > 1024 {
		return s, driverkit.Refuse("read", handle, fmt.Errorf("length %d of the alphabet %q", s.Length, s.Alphabet), "8 to 1024 of alphanumeric, hex, base64url or ascii")
	}
	return s, nil
}

// ageHeader is how every age ciphertext begins.
const ageHeader = "age-encryption.org/v1\n"

// Check says what is wrong with a declaration, without decrypting anything; a
// part of it with a reference is not judged.
func (d *Driver) Check(kind, name string, want drivers.Desired) error {
	if kind != Kind {
		return unserved(kind)
	}
	var words map[string]json.RawMessage
	if err := json.Unmarshal(want.Spec, &words); err != nil {
		return driverkit.Refuse("read", prefix+name, err, "")
	}
	for p := range want.Unknown {
		delete(words, p.Steps()[0])
	}
	known, err := json.Marshal(words)
	if err != nil {
		return driverkit.Refuse("read", prefix+name, err, "")
	}
	s, err := specOf(known, prefix+name)
	if err != nil || s.Age == "" {
		return err
	}
	return checkAge(prefix+name, s.Age)
}

// checkAge reads the armor and the first line within. What is wrong with them
// is told without repeating any of the text, which may be a plaintext in the
// wrong place.
func checkAge(handle, text string) error {
	const hint = "it is what age -a -r RECIPIENT writes, with the recipient of this environment"
	if len(text) > 2*MaxSecret {
		return driverkit.Refuse("read", handle, fmt.Errorf("age: a ciphertext of %d bytes (at most %d)", len(text), 2*MaxSecret), "")
	}
	sealed, err := io.ReadAll(armor.NewReader(strings.NewReader(text)))
	if err != nil {
		return driverkit.Refuse("read", handle, errors.New("age: this is no armored age ciphertext"), hint)
	}
	if !bytes.HasPrefix(sealed, []byte(ageHeader)) {
		return driverkit.Refuse("read", handle, errors.New("age: what the armor holds is not encrypted with age"), hint)
	}
	return nil
}

// anew says whether a declaration asks for another value than the one that
// was made for before.
func (s secretSpec) anew(before secretSpec) bool {
	s.Rotate, before.Rotate = "", ""
	return s != before
}

// plan is Change.Opaque.
type plan struct {
	delete, unknown bool
	token           string // of the record when it was planned; "" for none
	spec            json.RawMessage
	value           bool // the value is made anew
}

// Plan compares; it decrypts nothing.
func (d *Driver) Plan(_ context.Context, it drivers.Item, state drivers.State) (drivers.Change, error) {
	d.setup()
	driverkit.Place(&it, state)
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	if it.ID.Kind != Kind {
		return c, unserved(it.ID.Kind)
	}
	if state.Err != nil {
		return c, state.Err
	}
	if err := driverkit.Foreign(state, d.Env); err != nil {
		return c, err
	}
	live, _ := state.Raw.(observed)
	if it.Want == nil {
		c.Opaque = plan{delete: true, token: live.Token}
		driverkit.Deletion(&c, state)
		return c, nil
	}
	p := plan{unknown: len(it.Want.Unknown) > 0, token: live.Token, spec: it.Want.Spec}
	var err error
	if c.Diff, err = driverkit.Diff(state.Spec, it.Want.Spec, it.Want.Unknown); err != nil {
		return c, driverkit.Refuse("read", it.Handle, err, "")
	}
	if err := planValue(&c, &p, it, live); err != nil {
		return c, err
	}
	if state.Exists && state.Owner == "" {
		c.Diff = append(c.Diff, driverkit.MarkDelta(d.Env))
	}
	c.Opaque = p
	driverkit.Decide(&c, it, state, it.Last != nil || state.Owner == d.Env)
	if c.Action == schema.Update && isDue(c.Diff) {
		c.Why = "its rotation is due"
	}
	return c, nil
}

func isDue(diff []drivers.Delta) bool {
	for _, d := range diff {
		if d.Path == rotationPath {
			return true
		}
	}
	return false
}

// planValue says whether the value stays.
func planValue(c *drivers.Change, p *plan, it drivers.Item, seen observed) (err error) {
	if p.unknown {
		return nil // neither value nor version can be told
	}
	want, err := specOf(it.Want.Spec, it.Handle)
	if err != nil {
		return err
	}
	version, fingerprint := 1, ""
	if live := seen.Value; live == nil {
		p.value = true
	} else {
		before, err := specOf(live.Spec, it.Handle)
		due := dueUnder(want, seen)
		p.value = err != nil || want.anew(before) || due
		if due {
			c.Diff = append(c.Diff, drivers.Delta{Path: rotationPath, Op: schema.Update,
				Before: json.RawMessage(strconv.Itoa(live.Version)), After: json.RawMessage(strconv.Itoa(live.Version + 1))})
		}
		if version, fingerprint = live.Version, live.Fingerprint; p.value {
			version, fingerprint = live.Version+1, ""
		}
	}
	c.Outputs, err = outputs(version, fingerprint)
	return err
}

// dueUnder says whether the value is due by what is declared now.
func dueUnder(want secretSpec, seen observed) bool {
	r := record{Made: seen.Value.Made, Rotate: want.Rotate}
	due := r.due()
	return !due.IsZero() && !seen.at.Before(due)
}

// Apply makes, rotates or deletes one secret. A change that landed before a
// crash is known by its nonce: the value is not made again.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	d.setup()
	p, ok := c.Opaque.(plan)
	name, err := nameOf(c.Handle)
	switch {
	case c.ID.Kind != Kind:
		return drivers.State{}, unserved(c.ID.Kind)
	case err != nil:
		return drivers.State{}, err
	case ctx.Err() != nil:
		return drivers.State{}, driverkit.Fail("apply", c.Handle, ctx.Err())
	case !ok || p.unknown:
		return drivers.State{}, driverkit.Stale("apply", c.Handle)
	}
	defer d.locks.Lock(c.Handle)()
	live, err := d.folder.Get(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return drivers.State{}, damaged(d.folder.Path(name), err)
	}
	if p.delete {
		return d.delete(name, c.Handle, live, p)
	}
	if live.Value != nil && c.Nonce != "" && live.Value.Nonce == c.Nonce && live.Token != p.token {
		return d.state(c.Handle, live)
	}
	if live.Token != p.token {
		return drivers.State{}, driverkit.Stale("write", c.Handle)
	}
	next, err := d.next(name, c, p, live.Value)
	if err != nil {
		return drivers.State{}, err
	}
	write := d.folder.Replace
	if live.Value == nil {
		write = d.folder.Create
	}
	rec, err := write(name, next)
	if errors.Is(err, fs.ErrExist) {
		return drivers.State{}, driverkit.Stale("write", c.Handle)
	}
	if err != nil {
		return drivers.State{}, driverkit.Fail("write", d.folder.Path(name), err)
	}
	return d.state(c.Handle, rec)
}

// next is the record as the change makes it.
func (d *Driver) next(name string, c drivers.Change, p plan, live *record) (record, error) {
	s, err := specOf(p.spec, c.Handle)
	if err != nil {
		return record{}, err
	}
	r := record{Format: 1, Name: name, Made: d.Now().UTC()}
	if live != nil {
		r = *live
	}
	r.Environment, r.Spec, r.Rotate, r.Nonce = d.Env, p.spec, s.Rotate, c.Nonce
	if !p.value {
		return r, nil
	}
	r.Version, r.Made = r.Version+1, d.Now().UTC()
	var value []byte
	if s.Age != "" {
		value, err = d.unwrap(c.Handle, s.Age)
	} else {
		value, err = generate(s.Length, s.Alphabet)
	}
	if err != nil {
		return record{}, driverkit.Fail("make", c.Handle, err)
	}
	return r, driverkit.Fail("seal", c.Handle, d.seal(&r, value))
}

func (d *Driver) delete(name, handle string, live records.Record[record], p plan) (drivers.State, error) {
	gone := drivers.State{Handle: handle}
	if live.Value != nil && live.Token != p.token {
		return gone, driverkit.Stale("delete", handle)
	}
	d.watched.Remove(d.folder.Path(name))
	d.due.drop(handle)
	return gone, driverkit.Fail("delete", d.folder.Path(name), d.folder.Delete(name))
}
