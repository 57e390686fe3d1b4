package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/sources"
)

// DefaultStatusBranch is where reports go unless something else is said.
const DefaultStatusBranch = "aplomb-status"

// MaxReport bounds one report, in bytes.
const MaxReport = 64 << 20

// ReporterConfig says where reports go. URL and Dir are as in Config.
type ReporterConfig struct {
	URL     string
	Auth    Auth
	Dir     string // of this reporter alone; not needed for a local repository
	Branch  string // short name; empty: DefaultStatusBranch
	Tracked string // the branch that is followed, never written to; empty: the one that HEAD names

	Name, Email string           // of the commits' author; empty: aplomb, aplomb@localhost
	Now         func() time.Time // nil: time.Now
	Timeout     time.Duration    // of one conversation with a server; 0: DefaultTimeout
	Log         logrus.FieldLogger
}

// Reporter commits reports to a branch with a history of its own, a folder for
// each environment. It only ever adds a commit on top of what is there: no
// force, and nothing is written where another has written meanwhile. It is
// safe for concurrent use, also by several daemons on one branch.
type Reporter struct {
	cfg   ReporterConfig
	at    location
	ref   plumbing.ReferenceName
	store *store
	wire  wire
	busy  chan struct{} // holds one token: one report at a time
}

var _ sources.Reporter = (*Reporter)(nil)

// NewReporter checks cfg. It opens no connection.
func NewReporter(cfg ReporterConfig) (*Reporter, error) {
	at, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("git reporter: %w", err)
	}
	cfg.Branch = firstOf(cfg.Branch, DefaultStatusBranch)
	cfg.Name, cfg.Email = firstOf(cfg.Name, ownName), firstOf(cfg.Email, ownEmail)
	cfg.Timeout = orElse(cfg.Timeout, DefaultTimeout)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		cfg.Log = quiet
	}
	if err := cfg.check(at); err != nil {
		return nil, fmt.Errorf("git reporter to %s: %w", at, err)
	}
	r := &Reporter{cfg: cfg, at: at, ref: plumbing.NewBranchReferenceName(cfg.Branch), busy: make(chan struct{}, 1)}
	if at.kind == local {
		r.store = openStore(at.path, MaxReport)
		return r, nil
	}
	if r.wire, err = newWire(at, cfg.Auth, DefaultMaxPack); err != nil {
		return nil, fmt.Errorf("git reporter to %s: %w", at, err)
	}
	r.store = openMirror(filepath.Join(cfg.Dir, "status.git"), MaxReport)
	return r, nil
}

var errTracked = errors.New("the status branch is the branch that is followed")

// Close lets go of open files. A call afterwards opens them again.
func (r *Reporter) Close() error {
	r.store.close()
	return nil
}

func (c *ReporterConfig) check(at location) error {
	switch {
	case c.Branch == c.Tracked:
		return errTracked
	case at.kind != local && c.Dir == "":
		return errors.New("a folder for the mirror is missing")
	case hasControl(c.Name+c.Email) || strings.ContainsAny(c.Name+c.Email, "<>"):
		return errors.New("the author's name or address is malformed")
	}
	if err := c.Auth.check(at); err != nil {
		return err
	}
	return checkRefName(c.Branch)
}

// Attempts on a branch that others write to as well.
const (
	reportAttempts = 12
	reportPause    = 25 * time.Millisecond // after the first; doubled each time
	longestPause   = 400 * time.Millisecond
)

var errRaced = errors.New("somebody else wrote to the branch meanwhile")

// Report puts the environment's folder on the branch as it is in rep; what the
// branch holds of other environments stays. Equal content makes no commit.
func (r *Reporter) Report(ctx context.Context, rep sources.Report) error {
	if err := r.report(ctx, rep); err != nil {
		return fmt.Errorf("report %s to branch %s of %s: %w", rep.Environment, r.cfg.Branch, r.at, err)
	}
	return nil
}

func (r *Reporter) report(ctx context.Context, rep sources.Report) error {
	if err := checkReport(rep); err != nil {
		return err
	}
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	pause := reportPause
	for attempt := 1; ; attempt++ {
		err := r.once(ctx, rep)
		if !errors.Is(err, errRaced) || attempt == reportAttempts {
			return err
		}
		wait := time.NewTimer(jitter(pause))
		select {
		case <-wait.C:
			pause = min(2*pause, longestPause)
		case <-ctx.Done():
			wait.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}

// once tries to put rep on top of what the branch holds now.
func (r *Reporter) once(ctx context.Context, rep sources.Report) error {
	base, err := r.base(ctx)
	if err != nil {
		return err
	}
	n := &draft{store: r.store}
	commit, err := n.commit(base, rep, r.signature())
	if err != nil || commit.IsZero() {
		return err
	}
	if r.wire != nil {
		return r.push(ctx, base, commit, n.made)
	}
	return r.store.swap(r.ref, base, commit)
}

// base is what the branch holds, zero where it is not there yet.
func (r *Reporter) base(ctx context.Context) (plumbing.Hash, error) {
	var tip plumbing.Hash
	var head string
	var err error
	if r.wire != nil {
		tip, head, err = r.remote().pull(ctx, r.ref, "refs/aplomb/status")
	} else if tip, err = r.store.ref(r.ref); err == nil || isAbsent(err) {
		head, err = r.store.headBranch()
	}
	if isAbsent(err) {
		tip, err = plumbing.ZeroHash, nil
	}
	if err == nil && r.cfg.Tracked == "" && head == r.cfg.Branch {
		err = errTracked
	}
	return tip, err
}

func (r *Reporter) remote() remote {
	return remote{store: r.store, wire: r.wire, timeout: r.cfg.Timeout, limit: DefaultMaxPack}
}

func isAbsent(err error) bool {
	return errors.Is(err, plumbing.ErrReferenceNotFound) || errors.Is(err, sources.ErrGone)
}

// checkReport wants names that stay inside their folder.
func checkReport(rep sources.Report) error {
	if !fs.ValidPath(rep.Environment) || path.Base(rep.Environment) != rep.Environment || !validName(rep.Environment) {
		return fmt.Errorf("%q cannot name a folder", rep.Environment)
	}
	total := 0
	for name, data := range rep.Files {
		if !fs.ValidPath(name) || hasControl(name) {
			return fmt.Errorf("%q cannot name a file of a report", name)
		}
		for part := range strings.SplitSeq(name, "/") {
			if !validName(part) {
				return fmt.Errorf("%q cannot name a file of a report", name)
			}
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, both := rep.Files[dir]; both {
				return fmt.Errorf("%q is a file and a folder of the report", dir)
			}
		}
		total += len(data)
	}
	if total > MaxReport || len(rep.Files) == 0 {
		return fmt.Errorf("a report has at least one file and at most %d bytes", MaxReport)
	}
	return nil
}
