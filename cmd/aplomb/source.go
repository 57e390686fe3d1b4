package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

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

// where is the path or URL, for screens.
func (f follow) where() string { return f.Git + f.Dir }

func (f follow) interval() time.Duration {
	d, _ := time.ParseDuration(f.Interval) // checked when it was given
	return d
}

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
		return follow{}, hinted{fmt.Errorf("source %s: there is no such folder", arg), "name a folder, a Git repository or a URL"}
	case err != nil:
		return follow{}, fmt.Errorf("source: %w", err)
	case !st.IsDir():
		return follow{}, hinted{fmt.Errorf("source %s: it is not a folder", arg), "name the folder that holds it"}
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
}

// pick decides what an environment follows: what the command line says, else
// what was remembered, else fallback (which may be empty).
func (sf sourceFlags) pick(f *folder, args []string, fallback string) (follow, error) {
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
		if chosen.where() == src.where() { // the same again: what was said of it stands
			chosen = src
		}
		src = chosen
	}
	if sf.interval < 0 {
		return src, usage("--interval 30s", "--interval is negative")
	}
	if src.Dir != "" && (sf.branch != "" || sf.path != "") {
		return src, usage("leave --branch and --path out", "%s is a plain folder; it has neither branches nor a path", src.Dir)
	}
	if sf.branch != "" {
		src.Branch = sf.branch
	}
	if sf.path != "" {
		src.Path = filepath.ToSlash(filepath.Clean(sf.path))
	}
	if sf.interval > 0 {
		src.Interval = sf.interval.String()
	}
	return src, nil
}

// openSource makes the source of an environment and where reports go.
func openSource(f *folder, src follow, log logrus.FieldLogger) (sources.Source, sources.Reporter, error) {
	if src.Dir != "" {
		return &dir.Source{Path: src.Dir, Ignore: ignoreData(src.Dir, f.path), Log: log}, dir.Reporter{Root: f.join(statusDir)}, nil
	}
	cfg := git.Config{URL: src.Git, Branch: src.Branch, Path: src.Path, Dir: f.join(gitDir), Interval: src.interval(), Log: log}
	s, err := git.Open(cfg)
	if err != nil {
		return nil, nil, err
	}
	r, err := git.NewReporter(git.ReporterConfig{URL: src.Git, Dir: f.join(gitDir), Tracked: src.Branch, Log: log})
	if err != nil {
		return nil, nil, err
	}
	return s, r, nil
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

// tree is the files of a PATH as they lie there now, for validate.
func tree(path string) (fs.FS, io.Closer, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read declarations: %w", err)
	}
	return root.FS(), root, nil
}
