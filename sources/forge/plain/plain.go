// Package plain is a Git server without a forge: a proposal is a branch below a
// prefix, what is said of it is a page on the status branch, and a yes is a tag
// on its last commit, or a line in the commit that merges it, signed by a key of
// the operator's list. It must not know how a repository is read, nor what a
// plan is.
//
// In reading order: Config and Plain here, proposals.go, words.go (who said
// yes), pages.go (what we say).
package plain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// ApprovePrefix is what the tags begin with that approve.
const ApprovePrefix = "aplomb/approve/"

// Repository is what is read of the repository. What Refs named can be read by
// the other calls; signers are files with keys.
type Repository interface {
	// Refs are the refs with these names: a whole name, or all below one that
	// ends with a slash.
	Refs(ctx context.Context, names ...string) ([]sources.Ref, error)
	// Commit is a commit; its Signer is empty where nobody of the list signed it.
	Commit(id string, signers []string) (sources.Commit, error)
	// Tag is a tag that somebody of the list signed, else sources.ErrUnsigned;
	// sources.ErrGone: it names no commit.
	Tag(id string, signers []string) (sources.Tag, error)
	// MergeBase is the last commit that two have in common; empty: none.
	MergeBase(ctx context.Context, a, b string) (string, error)
	// Signers is who may sign, as the lists call them.
	Signers(signers []string) ([]string, error)
}

// Pages is where pages are kept, by environment and path.
type Pages interface {
	Pages(ctx context.Context, environment string) (map[string][]byte, error)
	// Revise alters pages at once; change may be called more than once.
	Revise(ctx context.Context, environment, title string, change func(map[string][]byte) error) error
}

// Config says which branches of which repository are proposals, and who may say
// yes to them. All but Own and Log is needed.
type Config struct {
	Environment string   // whose pages are written
	Repository  string   // for people
	Prefix      string   // of branches that are proposals, with a slash at its end
	Own         string   // likewise, of those that aplomb itself proposes; their ID is the whole name
	Signers     []string // files with the keys that may say yes
	Git         Repository
	Pages       Pages
	Log         logrus.FieldLogger
}

// Plain is a repository on a server without a forge.
type Plain struct {
	cfg Config

	mu    sync.Mutex
	told  map[string]bool // what was said in the log, once
	since time.Time       // that
}

var _ forge.Forge = (*Plain)(nil)

// New checks cfg. Nobody is asked.
func New(cfg Config) (*Plain, error) {
	switch {
	case cfg.Environment == "" || cfg.Git == nil || cfg.Pages == nil:
		return nil, errors.New("plain git: an environment, a repository and pages are needed")
	case len(cfg.Prefix) < 2 || !strings.HasSuffix(cfg.Prefix, "/"):
		return nil, fmt.Errorf("plain git: the prefix %q does not end with a slash", cfg.Prefix)
	case len(cfg.Signers) == 0:
		return nil, errors.New("plain git: no file with keys says who may approve")
	}
	if cfg.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		cfg.Log = quiet
	}
	return &Plain{cfg: cfg, told: map[string]bool{}, since: time.Now()}, nil
}

// Limits implements forge.Forge. A page is a file: its bounds are ours. The pages
// of as many proposals as are planned have room on the branch together, with the
// statuses: what has none is lost there.
func (p *Plain) Limits() forge.Limits {
	return forge.Limits{Comment: 256 << 10, Description: 140, Context: 255}
}

// File implements forge.Forge: there is nothing to read it with but git.
func (p *Plain) File(string, string, int) string { return "" }

// Members implements forge.Forge: there are no teams.
func (p *Plain) Members(_ context.Context, team string) ([]forge.Account, error) {
	return nil, &forge.Error{
		Op: "list the members of", Subject: team, Class: forge.ErrUnsupported,
		Err: errors.New("a Git server without a forge has no teams"), Help: "who is in the list of signers may approve",
	}
}

// Permission implements forge.Forge: whoever is in the list may say yes.
func (p *Plain) Permission(_ context.Context, account string) (forge.Permission, error) {
	all, err := p.cfg.Git.Signers(p.cfg.Signers)
	if err != nil {
		return forge.None, p.fail("look for "+account+" in the list of", err)
	}
	for _, who := range all {
		if person(who).Is(account) {
			return forge.Write, nil
		}
	}
	return forge.None, nil
}

// person is somebody of the list. Several keys of one name are one person, and
// of keys of different kinds those whose names hold one address: a list of ssh
// has ana@example.org, a key of OpenPGP says Ana <ana@example.org>.
func person(who string) forge.Account {
	name := who
	if i, j := strings.LastIndexByte(who, '<'), strings.LastIndexByte(who, '>'); i >= 0 && j > i+1 {
		name = who[i+1 : j]
	}
	return forge.Account{ID: strings.ToLower(name), Name: strings.ToLower(name)}
}

// fail is what a call failed with.
func (p *Plain) fail(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", op, p.cfg.Repository, err)
	}
	if forge.Class(err) != nil {
		return forge.Fail(op, p.cfg.Repository, err)
	}
	e := &forge.Error{Op: op, Subject: p.cfg.Repository, Class: forge.ErrUnreachable, Err: err}
	switch {
	case errors.Is(err, sources.ErrGone):
		e.Class = forge.ErrGone
	case errors.Is(err, sources.ErrTooLarge):
		e.Class = forge.ErrRefused
	}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		e.Help = hinted.Hint()
	}
	return e
}

// mostTold bounds what is said in the log, within tellAgain: whoever may push can
// push any number of tags that are worth a word.
const (
	mostTold  = 1000
	tellAgain = time.Hour
)

// tell says something in the log, once.
func (p *Plain) tell(ref, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told[ref+why] {
		return
	}
	if len(p.told) >= mostTold {
		if time.Since(p.since) < tellAgain {
			return
		}
		clear(p.told)
		p.since = time.Now()
	}
	p.told[ref+why] = true
	p.cfg.Log.WithFields(logrus.Fields{"env": p.cfg.Environment, "ref": ref}).Warn(why)
}
