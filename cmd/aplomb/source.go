package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/dir"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// follow says what an environment follows: a repository or a plain folder.
type follow struct {
	Git      string `json:"git,omitempty"`      // URL, or absolute path of a repository on this machine
	Dir      string `json:"dir,omitempty"`      // absolute path of a plain folder
	Branch   string `json:"branch,omitempty"`   // "": the one that the repository's HEAD names
	Path     string `json:"path,omitempty"`     // folder in the repository
	Interval string `json:"interval,omitempty"` // between two looks; "": the documented default
}

// where is the path or URL, for screens: without a password, which does not
// belong there and is refused later.
func (f follow) where() string {
	if u, err := url.Parse(f.Git); err == nil && u.User != nil {
		return u.Redacted()
	}
	return f.Git + f.Dir
}

func (f follow) interval() time.Duration {
	d, _ := time.ParseDuration(f.Interval) // checked when it was given
	return d
}

// same says whether two name the same: symbolic links, and slashes at the end,
// make no difference.
func (f follow) same(o follow) bool {
	plain := func(f follow) follow {
		f.Git, f.Dir, f.Interval = spelled(f.Git), spelled(f.Dir), ""
		return f
	}
	return plain(f) == plain(o)
}

// spelled is one spelling of a path or URL.
func spelled(where string) string {
	if real, err := filepath.EvalSymlinks(where); err == nil && filepath.IsAbs(where) {
		return real
	}
	return strings.TrimRight(where, "/")
}

// String is what a person reads: the path or URL, with branch and folder.
func (f follow) String() string {
	s := f.where()
	if f.Branch != "" {
		s += ", branch " + f.Branch
	}
	if f.Path != "" {
		s += ", folder " + f.Path
	}
	return s
}

// errNoPath is a path that names nothing of use.
var errNoPath = errors.New("there is no such folder")

var urlRE = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z0-9._-]+@[A-Za-z0-9.:\[\]-]+:)`)

// choose finds out what a PATH or URL is.
func choose(arg string) (follow, error) {
	if urlRE.MatchString(arg) {
		return follow{Git: arg}, nil
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return follow{}, fmt.Errorf("source: %w", err)
	}
	st, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return follow{}, hinted{fmt.Errorf("source %s: %w", arg, errNoPath), "name a folder, a Git repository or a URL"}
	case err != nil:
		return follow{}, fmt.Errorf("source: %w", err)
	case !st.IsDir():
		return follow{}, hinted{fmt.Errorf("source %s: %w: it is a file", arg, errNoPath), "name the folder that holds it"}
	}
	if repository(abs) {
		return follow{Git: abs}, nil
	}
	return follow{Dir: abs}, nil
}

// repository says whether a folder is a Git repository, with a work tree or
// bare.
func repository(path string) bool {
	if _, err := os.Lstat(filepath.Join(path, ".git")); err == nil {
		return true
	}
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			return false
		}
	}
	return true
}

// sourceFlags are the flags that say what is followed.
type sourceFlags struct {
	branch, path, root, name string
	interval                 time.Duration
	change, rewind           bool // --switch, --allow-rewind
}

// check finds what is wrong about the flags and the PATH by themselves, before a
// data folder is made for nothing.
func (sf sourceFlags) check(args []string) error {
	switch {
	case sf.name != "" && !schema.ValidName(sf.name):
		return usage("lower-case letters, digits and inner hyphens", "--name: %q is not a name", sf.name)
	case sf.interval < 0:
		return usage("--interval 30s", "--interval is negative")
	case len(args) == 0:
		return nil
	}
	src, err := choose(args[0])
	if err != nil {
		return err
	}
	return sf.fits(src)
}

// fits refuses flags that a source has no use for.
func (sf sourceFlags) fits(src follow) error {
	if src.Dir != "" && (sf.branch != "" || sf.path != "") {
		return usage("leave --branch and --path out", "%s is a plain folder; it has neither branches nor a path", src.Dir)
	}
	return nil
}

// pick decides what an environment follows: what the command line says, else
// what was remembered, else fallback (which may be empty).
// Another source than the remembered one is refused, unless --switch says so:
// what the old one declared, and the new one does not, would be deleted.
func (sf sourceFlags) pick(f *folder, args []string, fallback string) (follow, error) {
	if sf.name != "" && sf.name != f.Name {
		return follow{}, usage("leave --name out; a new environment wants another data folder: --data DIR", "--name %s: this environment is named %s, for good", sf.name, f.Name)
	}
	arg := fallback
	if len(args) > 0 {
		arg = args[0]
	}
	src := f.Source
	if len(args) > 0 || src == (follow{}) {
		if arg == "" {
			return src, hinted{errors.New("this environment follows nothing yet"), "name a folder, a Git repository or a URL"}
		}
		chosen, err := choose(arg)
		if err != nil {
			return src, err
		}
		if (follow{Git: chosen.Git, Dir: chosen.Dir}).same(follow{Git: src.Git, Dir: src.Dir}) { // the same again: what was said of it stands
			chosen = src
		}
		src = chosen
	}
	if err := sf.fits(src); err != nil {
		return src, err
	}
	if sf.branch != "" {
		src.Branch = sf.branch
	}
	if sf.path != "" {
		src.Path = strings.TrimPrefix(filepath.ToSlash(filepath.Clean(sf.path)), ".")
	}
	if f.Source != (follow{}) && !src.same(f.Source) && !sf.change {
		return src, usage("another environment: --data DIR; to follow the new one from now on, and delete what only the old one declares: --switch",
			"environment %q follows %s, not %s", f.Name, f.Source, src)
	}
	if sf.interval > 0 {
		src.Interval = sf.interval.String()
	}
	return src, nil
}

// openSource makes the source of an environment and where reports go.
func openSource(f *folder, how opening, c *closers, log logrus.FieldLogger) (sources.Source, sources.Reporter, error) {
	src := how.source
	if src == (follow{}) {
		return nothing{}, nil, nil
	}
	if how.section != nil {
		s, err := openFollowed(f, "", how.section.Source, how, c, log)
		if err != nil {
			return nil, nil, err
		}
		return reporting(f, s, git.ReporterConfig{URL: src.Git, Tracked: src.Branch, Auth: auth(how.section.Source), Branch: how.section.Status.Branch, Log: log}, how, c)
	}
	s, err := openFollowed(f, "", config.Source{Git: src.Git, Dir: src.Dir, Branch: src.Branch, Path: src.Path, Interval: config.Duration(src.interval())}, how, c, log)
	if err != nil {
		return nil, nil, err
	}
	if src.Dir != "" {
		return s, dir.Reporter{Root: f.join(statusDir)}, nil
	}
	return reporting(f, s, git.ReporterConfig{URL: src.Git, Tracked: src.Branch, Log: log}, how, c)
}

// reporting adds where reports on a repository go.
func reporting(f *folder, s sources.Source, cfg git.ReporterConfig, how opening, c *closers) (sources.Source, sources.Reporter, error) {
	if how.readOnly {
		return s, nil, nil
	}
	cfg.Dir = mirrorOf(f.path, "", cfg.URL)
	r, err := git.NewReporter(cfg)
	if err != nil {
		return nil, nil, err
	}
	c.add(r.Close)
	return s, r, nil
}

// openFollowed makes one source of an environment; name is "" for that of its
// declarations.
func openFollowed(f *folder, name string, src config.Source, how opening, c *closers, log logrus.FieldLogger) (sources.Source, error) {
	if src.Dir != "" {
		return &dir.Source{Path: src.Dir, Ignore: ignoreData(src.Dir, f.path), Log: log}, nil
	}
	mirrored, err := mirror(f, name, src.Git, how, c)
	if err != nil {
		return nil, err
	}
	cfg := gitConfig(src, mirrored)
	cfg.AllowRewind, cfg.Log = how.rewind, log
	if how.section != nil {
		cfg.Reserved = []string{how.section.Status.Branch}
	}
	s, err := git.Open(cfg)
	if err != nil {
		return nil, err
	}
	c.add(s.Close)
	return s, nil
}

// gitConfig is what is followed in a repository, with the folder for what is
// kept of it.
func gitConfig(s config.Source, dir string) git.Config {
	return git.Config{URL: s.Git, Branch: s.Branch, Path: s.Path, Dir: dir, Auth: auth(s), Signers: s.Signers, Interval: time.Duration(s.Interval)}
}

// kept reads what is followed without asking anybody: a folder or a repository
// of this machine as it is now, what a server told as it was fetched last into
// data, an environment's folder.
func kept(ctx context.Context, data, name string, s config.Source, c *closers) (*sources.Snapshot, error) {
	var src sources.Source = &dir.Source{Path: s.Dir}
	if s.Dir == "" {
		local := filepath.IsAbs(s.Git) || strings.HasPrefix(s.Git, "file://")
		mirrored := ""
		if !local {
			mirrored = mirrorOf(data, name, s.Git)
		}
		repo, err := git.Open(gitConfig(s, mirrored))
		if err != nil {
			return nil, err
		}
		c.add(repo.Close)
		if !local {
			return repo.Kept()
		}
		src = repo
	}
	rev, err := src.Head(ctx)
	if err != nil {
		return nil, err
	}
	return src.Fetch(ctx, rev)
}

// auth says who an environment is to its repository's server.
func auth(s config.Source) git.Auth {
	return git.Auth{
		TokenFile: s.TokenFile, Username: s.Username, CAFile: s.CAFile,
		KeyFile: s.KeyFile, KeyPassphraseFile: s.KeyPassphraseFile, Agent: s.Agent, KnownHostsFile: s.KnownHostsFile,
	}
}

// mirror is the folder for what is kept of a repository: one for each URL and
// use of it, so that switching does not mix two histories. What only a plan looks at, another
// source or a rewound branch, goes to a folder for that plan alone: it must not
// move what is in force.
func mirror(f *folder, name, url string, how opening, c *closers) (string, error) {
	if !how.readOnly || !how.apart {
		return mirrorOf(f.path, name, url), nil
	}
	dir, err := os.MkdirTemp("", "aplomb-plan-")
	if err != nil {
		return "", fmt.Errorf("look at the source: %w", err)
	}
	c.add(func() error { return os.RemoveAll(dir) })
	return dir, nil
}

// mirrorOf is where a data folder keeps what is followed under a name.
func mirrorOf(data, name, url string) string {
	sum := sha256.Sum256([]byte(spelled(url)))
	id := hex.EncodeToString(sum[:8])
	if name != "" {
		id = name + "-" + id
	}
	return filepath.Join(data, gitDir, id)
}

// ignoreData leaves the data folder out of a plain folder that it lies in.
func ignoreData(path, data string) func(string) bool {
	rel := inside(path, data)
	if rel == "" {
		return nil
	}
	return func(name string) bool { return name == rel || strings.HasPrefix(name, rel+"/") }
}

// inside is the slash-separated path of data below path, or "" where it does
// not lie in it.
func inside(path, data string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	rel, err := filepath.Rel(path, data)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return ""
	}
	return filepath.ToSlash(rel)
}

// warnInside says on w that the data folder lies where people and tools will
// take it for content.
func warnInside(src follow, f *folder, note func(string)) {
	rel := inside(src.where(), f.path)
	if rel == "" || strings.HasPrefix(rel, ".") || strings.Contains(rel, "/.") {
		return
	}
	note(fmt.Sprintf("warning: the data folder %s lies in %s, and its name does not begin with a dot: keep it out of commits and copies", rel, src.where()))
}
