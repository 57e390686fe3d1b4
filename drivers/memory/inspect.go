package memory

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
)

// Object is what a test sees of one thing that lives.
type Object struct {
	Handle, Kind, Name string // Name as of its create
	Owner              string // environment id of its mark
	Nonce              string
	Spec               json.RawMessage // with the password in the clear
	Value              string          // of a memory.secret
	Half, Deleting     bool
	Revision           uint64
}

func (o *object) export() Object {
	return Object{
		Handle: o.handle, Kind: o.kind, Name: o.name, Owner: o.owner, Nonce: o.nonce,
		Spec: mustJSON(o.spec), Value: o.value, Half: o.half, Deleting: o.goneAt > 0, Revision: o.rev,
	}
}

func (e *Engine) sorted() []*object {
	return slices.SortedFunc(maps.Values(e.objects), func(a, b *object) int { return strings.Compare(a.handle, b.handle) })
}

// Objects lists what lives, by handle.
func (e *Engine) Objects() []Object {
	e.lock()
	defer e.unlock()
	var all []Object
	for _, o := range e.sorted() {
		all = append(all, o.export())
	}
	return all
}

// Object finds what lives under a handle.
func (e *Engine) Object(handle string) (Object, bool) {
	e.lock()
	defer e.unlock()
	o := e.objects[handle]
	if o == nil {
		return Object{}, false
	}
	return o.export(), true
}

// Creates counts the creates that landed under a handle so far.
func (e *Engine) Creates(handle string) int {
	e.lock()
	defer e.unlock()
	return e.creates[handle]
}

// Writes counts the writes of drivers that landed on a handle, or on all for
// "". Foreign ones are not counted.
func (e *Engine) Writes(handle string) int {
	e.lock()
	defer e.unlock()
	if handle == "" {
		return e.total
	}
	return e.writes[handle]
}

// Pending counts the writes that will land late, and the deletes under way.
func (e *Engine) Pending() int {
	e.lock()
	defer e.unlock()
	return len(e.late) + len(e.going)
}

// Steps is how many steps have passed.
func (e *Engine) Steps() int {
	e.lock()
	defer e.unlock()
	return e.steps
}

// Tick lets n steps pass.
func (e *Engine) Tick(n int) {
	e.lock()
	defer e.unlock()
	for range n {
		e.step()
	}
}

// Subscribe has f called with every handle that changes, one after the other,
// from the call that changed it, without a lock held.
func (e *Engine) Subscribe(f func(handle string)) (stop func()) {
	e.lock()
	defer e.unlock()
	n := e.subSeq
	e.subSeq++
	e.subs[n] = f
	return func() {
		e.lock()
		defer e.unlock()
		delete(e.subs, n)
	}
}

// SetUnreachable lets every call fail with ErrUnreachable, until it is undone.
func (e *Engine) SetUnreachable(on bool) {
	e.lock()
	defer e.unlock()
	e.unreachable = on
}

// SetDenied lets every write fail with ErrDenied, until it is undone.
func (e *Engine) SetDenied(on bool) {
	e.lock()
	defer e.unlock()
	e.denied = on
}

// SetHealth has an object answer this health from now on; nil undoes it.
func (e *Engine) SetHealth(handle string, h *drivers.Health) {
	e.lock()
	defer e.unlock()
	delete(e.unhealthy, handle)
	if h != nil {
		e.unhealthy[handle] = *h
	}
	e.changed = append(e.changed, handle)
}

// ForeignCreate makes an object behind the drivers' backs, with any owner. For
// a kind whose id the engine gives, id chooses it all the same.
func (e *Engine) ForeignCreate(kind, id, owner string, spec json.RawMessage) (handle string, err error) {
	tree, err := decode(spec)
	if err != nil {
		return "", err
	}
	e.lock()
	defer e.unlock()
	handle = kind + "/" + id
	if e.objects[handle] != nil {
		return "", fmt.Errorf("create %s: %w", handle, errExists)
	}
	e.put(&object{handle: handle, kind: kind, name: id, owner: owner, spec: tree})
	return handle, nil
}

// ForeignEdit gives an object another spec behind the drivers' backs, with the
// password in the clear.
func (e *Engine) ForeignEdit(handle string, spec json.RawMessage) error {
	tree, err := decode(spec)
	if err != nil {
		return err
	}
	return e.foreign(handle, func(o *object) { o.spec = tree })
}

// ForeignMark gives an object another owner's mark, or none for "".
func (e *Engine) ForeignMark(handle, owner string) error {
	return e.foreign(handle, func(o *object) { o.owner = owner })
}

// ForeignRotate gives a memory.secret another value.
func (e *Engine) ForeignRotate(handle string) error {
	return e.foreign(handle, func(o *object) { o.value = "" })
}

// ForeignDelete removes an object at once, behind the drivers' backs.
func (e *Engine) ForeignDelete(handle string) error {
	e.lock()
	defer e.unlock()
	o := e.objects[handle]
	if o == nil {
		return fmt.Errorf("delete %s: %w", handle, errGone)
	}
	e.remove(o)
	return nil
}

func (e *Engine) foreign(handle string, edit func(*object)) error {
	e.lock()
	defer e.unlock()
	o := e.objects[handle]
	if o == nil {
		return fmt.Errorf("edit %s: %w", handle, errGone)
	}
	o = o.clone()
	edit(o)
	e.put(o)
	return nil
}

func decode(spec json.RawMessage) (map[string]any, error) {
	var tree map[string]any
	if err := json.Unmarshal(spec, &tree); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	if tree == nil {
		tree = map[string]any{}
	}
	return tree, nil
}

// Sins are what no reconciler may cause, one sentence each: two live objects of
// one nonce, or, where the engine gives ids, of one name and environment; and
// writes to what carries another environment's mark. Kinds without a nonce are
// at-least-once, so under NonceUnsupported doubles are not counted.
func (e *Engine) Sins() []string {
	e.lock()
	defer e.unlock()
	sins := slices.Clone(e.trespass)
	if e.Quirks.NonceUnsupported {
		return sins
	}
	seen := map[string]string{}
	for _, o := range e.sorted() {
		if o.nonce == "" || o.goneAt > 0 {
			continue
		}
		key := o.kind + "/" + o.name + " of " + o.owner
		if first := seen[key]; first != "" {
			sins = append(sins, fmt.Sprintf("%s lives twice: %s and %s", key, first, o.handle))
		}
		seen[key] = o.handle
	}
	return sins
}

// Orphans lists the handles that carry env's mark, are not being deleted, and
// for which owned says false.
func (e *Engine) Orphans(env string, owned func(handle string) bool) []string {
	var orphans []string
	for _, o := range e.Objects() {
		if o.Owner == env && !o.Deleting && !owned(o.Handle) {
			orphans = append(orphans, o.Handle)
		}
	}
	return orphans
}
