package git

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/sources"
)

// Defaults of Config.
const (
	DefaultInterval = 30 * time.Second
	DefaultTimeout  = 2 * time.Minute
	DefaultMaxPack  = 1 << 30
	DefaultMaxFile  = 16 << 20
	DefaultEntries  = 1_000_000
)

// Config says which repository is followed, and how. Only URL is needed, and
// Dir where the URL names a server.
type Config struct {
	URL    string // a path, file://, https://, ssh:// or user@host:path; http:// to a loopback address only
	Branch string // short name; empty: the branch that the repository's HEAD names
	Tag    string // instead of Branch
	Path   string // folder below the root of the tree; empty: the root

	// Dir is a folder that belongs to this source alone: the mirror of a
	// repository on a server, and which revision is in force. Empty is allowed
	// for a local repository; what is in force is then forgotten at the end of
	// the process.
	Dir  string
	Auth Auth

	// Signers are files with the keys that may sign, see ReadSigners. A new tip
	// that none of them has signed is refused; what a tip contains is vouched
	// for by it. None: nothing has to be signed.
	Signers []string

	Interval    time.Duration // between two looks of Watch; 0: DefaultInterval
	Timeout     time.Duration // of one conversation with a server; 0: DefaultTimeout
	AllowRewind bool          // follow a branch that was rewound instead of refusing it

	MaxPack int64 // bytes of one answer of a server; 0: DefaultMaxPack
	MaxFile int64 // bytes of one file of a snapshot; 0: DefaultMaxFile
	Entries int   // files and folders of one snapshot; 0: DefaultEntries

	// Reserved are branches that Branch never writes to, beside the followed one:
	// such as that of the reports.
	Reserved []string

	Log logrus.FieldLogger // nil: silent
}

// Source follows one branch or tag of one repository. It is safe for
// concurrent use.
type Source struct {
	cfg   Config
	at    location
	store *store
	wire  wire // nil for a local repository
	log   logrus.FieldLogger

	net   chan struct{}          // holds one token: one conversation at a time
	large map[plumbing.Hash]bool // what was refused by its size; whoever speaks has it

	mu    sync.Mutex
	tip   plumbing.Hash // what Head saw last
	force *plumbing.Hash
	known map[[2]plumbing.Hash]bool // answers about ancestry, which never change
}

var (
	_ sources.Source   = (*Source)(nil)
	_ sources.Watcher  = (*Source)(nil)
	_ sources.Ancestry = (*Source)(nil)
)

// Open checks cfg. It opens no connection and needs no repository: one that is
// not there yet is an error of Head.
func Open(cfg Config) (*Source, error) {
	at, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("git source: %w", err)
	}
	if err := cfg.check(at); err != nil {
		return nil, fmt.Errorf("git source %s: %w", at, err)
	}
	cfg.defaults()
	s := &Source{cfg: cfg, at: at, log: cfg.Log, net: make(chan struct{}, 1), large: map[plumbing.Hash]bool{}, known: map[[2]plumbing.Hash]bool{}}
	if at.kind == local {
		s.store = openStore(at.path, cfg.MaxFile)
		return s, nil
	}
	if s.wire, err = newWire(at, cfg.Auth, cfg.MaxPack); err != nil {
		return nil, fmt.Errorf("git source %s: %w", at, err)
	}
	s.store = openMirror(filepath.Join(cfg.Dir, "mirror.git"), cfg.MaxFile)
	return s, nil
}

// Close lets go of open files. A call afterwards opens them again.
func (s *Source) Close() error {
	s.store.close()
	return nil
}

func (c *Config) defaults() {
	c.Interval = orElse(c.Interval, DefaultInterval)
	c.Timeout = orElse(c.Timeout, DefaultTimeout)
	c.MaxPack = orElse(c.MaxPack, DefaultMaxPack)
	c.MaxFile = orElse(c.MaxFile, DefaultMaxFile)
	c.Entries = orElse(c.Entries, DefaultEntries)
	if c.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		c.Log = quiet
	}
}

func (c *Config) check(at location) error {
	switch {
	case c.Branch != "" && c.Tag != "":
		return errors.New("branch and tag exclude each other")
	case at.kind != local && c.Dir == "":
		return errors.New("a folder for the mirror is missing")
	}
	if err := c.Auth.check(at); err != nil {
		return err
	}
	for _, name := range []string{c.Branch, c.Tag} {
		if name == "" {
			continue
		}
		if err := checkRefName(name); err != nil {
			return err
		}
	}
	return checkPath(c.Path)
}

// ref is the full name of what is followed; HEAD where nothing was said.
func (c *Config) ref() plumbing.ReferenceName {
	switch {
	case c.Tag != "":
		return plumbing.NewTagReferenceName(c.Tag)
	case c.Branch != "":
		return plumbing.NewBranchReferenceName(c.Branch)
	}
	return plumbing.HEAD
}

func orElse[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
