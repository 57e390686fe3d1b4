package detached

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The files of a run.
const (
	specFile   = "spec.json"
	lockFile   = "lock"
	recordFile = "run.json"
	stopFile   = "stop.json"
	exitFile   = "exit.json"
	logFile    = "output.log"
	shimFile   = "shim.log"
)

// What a call may fail with, for errors.Is.
var (
	ErrBusy  = errors.New("it runs")                  // for what wants a run that is over
	ErrNoRun = errors.New("there is no such run")     // the folder holds no spec
	ErrBegun = errors.New("the run has begun before") // Start on a folder that is not merely prepared
)

// State is where a run stands.
type State string

// The states of a run. From Lost and Orphaned only Stop leads on.
const (
	Prepared State = "prepared" // the command was never started, for certain, and nobody is about to
	Running  State = "running"  // or about to: a shim holds the lock
	Exited   State = "exited"   // nothing of it is alive; Status.Exit says how it ended
	Orphaned State = "orphaned" // the shim was killed, the command lives and has nobody
	Lost     State = "lost"     // shim and command are gone and left no exit: killed, or the machine restarted
)

// Exit is how a run ended.
type Exit struct {
	Code   int       `json:"code"`             // of the command; -1 where Signal or Error says why
	Signal string    `json:"signal,omitempty"` // "KILL": the signal that ended it
	Error  string    `json:"error,omitempty"`  // why the command could not be started
	Asked  bool      `json:"asked,omitempty"`  // it was told to stop
	Lost   bool      `json:"lost,omitempty"`   // its shim had died: how it ended is not known
	At     time.Time `json:"at"`
}

// String is for people: "status 1", "killed", "signal TERM", "lost".
func (e Exit) String() string {
	switch {
	case e.Error != "":
		return e.Error
	case e.Lost:
		return "lost"
	case e.Signal == "KILL":
		return "killed"
	case e.Signal != "":
		return "signal " + e.Signal
	default:
		return fmt.Sprintf("status %d", e.Code)
	}
}

// Status is what is known of a run.
type Status struct {
	State State
	Begun time.Time // when the shim set out to start the command; zero while Prepared
	Child Proc      // the command; zero until it is known
	Exit  Exit      // where State is Exited
}

// record is the content of run.json. It is written before the command is
// forked, without Child, and again after.
type record struct {
	Boot  string    `json:"boot"`
	Shim  Proc      `json:"shim"`
	Child Proc      `json:"child,omitzero"`
	Begun time.Time `json:"begun"`
}

// Run is a folder of a run. It is safe for concurrent use.
type Run struct {
	dir string

	mu   sync.Mutex
	rec  record // as last read
	exit *Exit  // final once it is known
}

// Open finds the run in a folder: ErrNoRun where there is none.
func Open(dir string) (*Run, error) {
	if _, err := os.Stat(filepath.Join(dir, specFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open %s: %w", dir, ErrNoRun)
		}
		return nil, fmt.Errorf("open run: %w", err)
	}
	return &Run{dir: dir}, nil
}

// Dir is the run's folder.
func (r *Run) Dir() string { return r.dir }

func (r *Run) path(name string) string { return filepath.Join(r.dir, name) }

// Spec is what the run was started with, without the secrets.
func (r *Run) Spec() (Spec, error) {
	var s Spec
	if err := readJSON(r.path(specFile), &s); err != nil {
		return Spec{}, fmt.Errorf("read spec of a run: %w", err)
	}
	return s, nil
}

// Status looks at the run. Of one that is running and was seen before this is
// one query of its lock, of one that has exited nothing at all. ErrNoRun: its
// folder is gone.
func (r *Run) Status() (Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.exit != nil {
		return r.exited(), nil
	}
	alive, err := held(r.path(lockFile))
	if err != nil {
		return Status{}, err
	}
	return r.look(alive)
}

// look is Status where it is known whether a shim lives. The caller has r.mu.
func (r *Run) look(alive bool) (Status, error) {
	if err := r.load(); err != nil {
		return Status{}, err
	}
	if alive {
		return Status{State: Running, Begun: r.rec.Begun, Child: r.rec.Child}, nil
	}
	// Only now: the shim writes its last word before it lets go of the lock.
	var exit Exit
	switch err := readJSON(r.path(exitFile), &exit); {
	case err == nil:
		r.exit = &exit
		return r.exited(), r.load()
	case !errors.Is(err, fs.ErrNotExist):
		return Status{}, fmt.Errorf("read exit of a run: %w", err)
	}
	if err := r.load(); err != nil {
		return Status{}, err
	}
	return r.abandoned()
}

// load reads run.json until it names the command.
func (r *Run) load() error {
	if r.rec.Child.PID != 0 {
		return nil
	}
	var rec record
	err := readJSON(r.path(recordFile), &rec)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read record of a run: %w", err)
	}
	r.rec = rec
	return nil
}

func (r *Run) exited() Status {
	return Status{State: Exited, Begun: r.rec.Begun, Child: r.rec.Child, Exit: *r.exit}
}

// abandoned tells apart what a free lock without an exit can mean.
func (r *Run) abandoned() (Status, error) {
	if _, err := os.Stat(r.path(specFile)); errors.Is(err, fs.ErrNotExist) {
		return Status{}, fmt.Errorf("look at %s: %w", r.dir, ErrNoRun)
	}
	s := Status{State: Lost, Begun: r.rec.Begun, Child: r.rec.Child}
	switch {
	case r.rec.Begun.IsZero():
		s.State = Prepared
	case r.rec.Boot == bootID() && r.rec.Child.alive():
		s.State = Orphaned
	}
	return s, nil
}

// guarded calls f with the status of a run that no shim has, and keeps one
// from starting meanwhile. ErrBusy: it runs.
func (r *Run) guarded(f func(Status) error) error {
	lock, err := acquire(r.path(lockFile))
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	r.mu.Lock()
	st, err := r.look(false)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return f(st)
}

// Remove deletes the folder of a run that is over or was never begun; ErrBusy
// where it runs, or was lost and not stopped since.
func (r *Run) Remove() error {
	err := r.guarded(func(st Status) error {
		if st.State == Orphaned || st.State == Lost {
			return fmt.Errorf("it is %s: %w", st.State, ErrBusy)
		}
		return os.RemoveAll(r.dir)
	})
	if err != nil {
		return fmt.Errorf("remove run: %w", err)
	}
	return nil
}
