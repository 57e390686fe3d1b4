package memory

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/aplomb-dev/aplomb/drivers"
)

// Engine is the server. The zero value is usable; Seed, Quirks and Hook are set
// before the first call. All methods are safe for concurrent use; from one
// goroutine everything that happens follows from Seed.
type Engine struct {
	Seed   uint64
	Quirks Quirks

	// Hook, if set, is called without any lock held before and after every
	// write of a driver, with "before create", "after create", and likewise
	// fill, patch and delete; the handle is "" where the engine has yet to
	// give it. An error before means that the call died on its way, an error
	// after that its answer was lost; a panic means the same and passes
	// through.
	Hook func(op, handle string) error

	mu          sync.Mutex
	rng         *rand.Rand
	steps       int
	seq         uint64 // of revisions and engine-given ids
	objects     map[string]*object
	nonces      map[string]string // to handle
	going       map[string]bool   // handles that are being deleted
	late        []lateWrite
	waits       map[string]int // of slow plans, by ID
	unreachable bool
	denied      bool

	subs    map[int]func(handle string)
	subSeq  int
	changed []string // handles to tell subscribers of, at unlock

	creates   map[string]int // by handle
	writes    map[string]int // by handle
	total     int
	trespass  []string
	unhealthy map[string]drivers.Health
}

// object is one thing that lives. It is never altered once it is in the
// engine, but replaced.
type object struct {
	handle, kind, name string
	owner, nonce       string
	spec               map[string]any // as the engine keeps it, plaintext included
	json               []byte         // spec as read back, without the password
	plain              bool           // json is the whole of spec
	secret             bool           // it has a password
	none               bool           // its count is zero
	sick               string         // why it never gets healthy
	version            string         // the revision, and the one in which the password was last altered
	outputs            map[string]drivers.Output
	rev                uint64 // of the last write
	passwordRev        uint64 // of the last write that altered the password
	valueRev           uint64 // of the last write that made the secret value
	value              string // of memory.secret
	half               bool   // the second call of its create is missing
	healthyAt          int
	goneAt             int // being deleted, if not 0
	tornUntil          int
}

type lateWrite struct {
	at  int
	req request
}

// lock enters the engine; unlock tells the subscribers.
func (e *Engine) lock() {
	e.mu.Lock()
	if e.objects == nil {
		e.rng = rand.New(rand.NewPCG(e.Seed, 0x6d656d6f7279))
		e.objects, e.nonces, e.going = map[string]*object{}, map[string]string{}, map[string]bool{}
		e.waits, e.subs = map[string]int{}, map[int]func(string){}
		e.creates, e.writes, e.unhealthy = map[string]int{}, map[string]int{}, map[string]drivers.Health{}
	}
}

func (e *Engine) unlock() {
	changed := e.changed
	e.changed = nil
	var subs []func(string)
	if len(changed) > 0 {
		for i := 0; i < e.subSeq; i++ {
			if f := e.subs[i]; f != nil {
				subs = append(subs, f)
			}
		}
	}
	e.mu.Unlock()
	for _, handle := range changed {
		for _, f := range subs {
			f(handle)
		}
	}
}

// step is the passing of time: late writes land, deletes end.
func (e *Engine) step() {
	e.steps++
	for len(e.late) > 0 && e.late[0].at <= e.steps {
		req := e.late[0].req
		e.late = e.late[1:]
		req.late = true
		_, _ = e.land(req) // nobody is left to be told
	}
	for handle := range e.going {
		if o := e.objects[handle]; o != nil && o.goneAt <= e.steps {
			e.remove(o)
		}
	}
}

func (e *Engine) remove(o *object) {
	delete(e.objects, o.handle)
	delete(e.going, o.handle)
	delete(e.unhealthy, o.handle)
	if e.nonces[o.nonce] == o.handle {
		delete(e.nonces, o.nonce)
	}
	e.changed = append(e.changed, o.handle)
}

// put makes o what lives, as of a new revision.
func (e *Engine) put(o *object) {
	e.seq++
	o.rev = e.seq
	if e.Quirks.NoisyDefaults && !o.half {
		if _, has := o.spec["size"]; !has {
			o.spec["size"] = float64(defaultSize)
		}
		o.spec[noiseField] = map[string]any{"at": float64(o.rev)}
	}
	old := e.objects[o.handle]
	if old == nil || !equal(old.spec["password"], o.spec["password"]) {
		o.passwordRev = o.rev
	}
	if o.kind == KindSecret && !o.half && (o.value == "" || old == nil || old.half || !equal(old.spec["size"], o.spec["size"])) {
		o.value, o.valueRev = e.generate(o.spec), o.rev
	}
	o.healthyAt = e.steps + e.Quirks.SlowHealth
	o.tornUntil = 0
	if n := e.Quirks.TornReads; n > 0 {
		o.tornUntil = e.steps + 1 + e.rng.IntN(n+1)
	}
	o.render()
	e.objects[o.handle] = o
	if o.nonce != "" {
		e.nonces[o.nonce] = o.handle
	}
	e.changed = append(e.changed, o.handle)
}

func (e *Engine) generate(spec map[string]any) string {
	n := 32
	if f, ok := spec["size"].(float64); ok && f > 0 && f <= 1024 {
		n = int(f)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(e.rng.Uint32())
	}
	return hex.EncodeToString(b)[:n]
}

// render fills what is read of o again and again.
func (o *object) render() {
	o.json = marshalSpec(o.spec, "")
	o.version = fmt.Sprintf("%d.%d", o.rev, o.passwordRev)
	_, o.secret = o.spec[secretField]
	_, noise := o.spec[noiseField]
	o.sick, _ = o.spec["unhealthy"].(string)
	o.none = o.spec[scalarField] == float64(0)
	o.outputs, o.plain = nil, !o.secret && !noise && !o.half
	if o.half {
		return
	}
	size := o.spec["size"]
	if size == nil {
		size = float64(0)
	}
	_, id, _ := strings.Cut(o.handle, "/")
	o.outputs = map[string]drivers.Output{
		"id":         {Value: mustJSON(id)},
		"value":      {Value: mustJSON(o.spec["value"])},
		"size":       {Value: mustJSON(size)},
		"generation": {Value: mustJSON(o.rev)},
	}
	if o.kind == KindSecret {
		o.outputs["value"] = drivers.Output{Secret: true, Fingerprint: fmt.Sprintf("%s#%d", o.handle, o.valueRev)}
	}
}

// clone is a copy of o to alter and put.
func (o *object) clone() *object {
	c := *o
	c.spec = cloneTree(o.spec).(map[string]any)
	return &c
}

// find is the object of an item: what its nonce made, or what lives under its
// handle.
func (e *Engine) find(handle, nonce string) *object {
	if nonce != "" {
		if o := e.objects[e.nonces[nonce]]; o != nil {
			return o
		}
	}
	return e.objects[handle]
}

var (
	errGone     = errors.New("it no longer exists")
	errMoved    = errors.New("its revision moved")
	errExists   = errors.New("it exists already")
	errDeleting = errors.New("it is being deleted")
	errFault    = errors.New("connection reset")
	errDead     = errors.New("the client is gone")
	errDown     = errors.New("connection refused")
	errForbid   = errors.New("the credentials allow reading only")
)

func fail(op, subject string, class, cause error) error {
	return &drivers.Error{Op: op, Subject: subject, Class: class, Err: cause}
}
