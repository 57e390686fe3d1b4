package policy

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// Options configure a Judge.
type Options struct {
	// Workers is where CUE is evaluated; it has the service of this package,
	// and is not closed with the Judge. nil evaluates in this process, with
	// neither deadline nor memory limit: for tests and tools that read only
	// what they wrote.
	Workers *worker.Pool
	// Log hears of policies that cannot be judged; nil is silence.
	Log logrus.FieldLogger
}

// Judge loads Sets, and keeps what they said. It is safe for concurrent use.
type Judge struct {
	options Options
	cache   *cache
}

// New makes a Judge. It starts nothing yet.
func New(o Options) *Judge {
	if o.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		o.Log = l
	}
	if o.Workers == nil {
		o.Workers = worker.New(worker.Options{Services: worker.Services{Service: NewHandler}})
	}
	return &Judge{options: o, cache: newCache()}
}

// Policy is one policy of a Set.
type Policy struct {
	Name    string       `json:"name"`
	Doc     string       `json:"doc,omitempty"`
	Level   schema.Level `json:"level"`
	Over    Over         `json:"over"`
	Match   Match        `json:"match"`
	Files   bool         `json:"files,omitempty"` // it sees the texts of files
	Sees    string       `json:"sees"`            // "all" or "labels"
	Pos     schema.Pos   `json:"pos"`
	Package string       `json:"package"`           // the folder of its package
	Clauses []string     `json:"clauses,omitempty"` // where its denials are written, as far as that is in its package

	bundle  int
	matcher *matcher
}

// Set is the policies of one tree, or what is wrong with it: then it refuses
// everything. It is immutable, and safe for concurrent use.
type Set struct {
	judge    *Judge
	policies []*Policy
	findings []schema.Diagnostic
	bundles  []*cueload.Bundle
	sum      [sha256.Size]byte
	outside  bool
}

// Outside says whether something outside of the tree, but in its repository, has
// a part in it.
func (s *Set) Outside() bool { return s.outside }

// Policies are the policies, by name.
func (s *Set) Policies() []*Policy { return s.policies }

// Findings are why it refuses everything; none where it does not.
func (s *Set) Findings() []schema.Diagnostic { return s.findings }

// Sum stands for all that the Set says: it is the same while nothing of its
// policies has changed.
func (s *Set) Sum() string { return fmt.Sprintf("%x", s.sum) }

// Has says whether there is a policy over something. A Set that refuses
// everything has something to say of resources and of changes.
func (s *Set) Has(over Over) bool {
	return len(s.findings) > 0 && over != Plans || slices.ContainsFunc(s.policies, func(p *Policy) bool { return p.Over == over })
}

// limits of a tree of policies.
const (
	mostFileBytes = 1 << 20
	mostFolders   = 2000
	mostPolicies  = 1000
)

// Load reads a tree of policies: all of it; see LoadAt.
func (j *Judge) Load(ctx context.Context, fsys fs.FS) (*Set, []schema.Diagnostic, error) {
	return j.LoadAt(ctx, fsys, ".")
}

// LoadAt reads the tree of policies at a path of a repository, whose other
// packages they may import. Positions are from the repository's root, the files
// named policies:PATH in what is wrong. What is wrong with it is in the findings, and
// the Set then refuses everything. An error means that it could not be looked
// at: ctx ended, or no worker could be started.
func (j *Judge) LoadAt(ctx context.Context, root fs.FS, at string) (*Set, []schema.Diagnostic, error) {
	s := &Set{judge: j}
	s.gather(root, path.Clean(at))
	if err := s.load(ctx); err != nil {
		return nil, nil, fmt.Errorf("load the policies: %w", err)
	}
	if len(s.policies) == 0 && len(s.findings) == 0 {
		s.find(schema.Pos{}, "a policy is a regular field of a CUE package that is a policies.#Policy", "no policy is found")
	}
	for i := range s.findings {
		s.findings[i].Pos = named(s.findings[i].Pos)
	}
	s.findings = schema.SortDiagnostics(s.findings)
	slices.SortFunc(s.policies, func(a, b *Policy) int { return strings.Compare(a.Name, b.Name) })
	s.seal()
	return s, s.findings, nil
}

// prefix stands before the files of policies in findings, so that none is taken
// for one of the declarations beside which it is told.
const prefix = "policies:"

// InPolicies says of a position whether it is one of a Set's findings.
func InPolicies(p schema.Pos) bool { return strings.HasPrefix(p.File, prefix) }

func named(p schema.Pos) schema.Pos {
	if p.File != "" {
		p.File = prefix + p.File
	}
	return p
}

func (s *Set) find(at schema.Pos, hint, format string, args ...any) {
	s.findings = append(s.findings, schema.Diagnostic{Pos: at, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// seal makes the sum of all that the Set holds.
func (s *Set) seal() {
	h, program := sha256.New(), worker.Program()
	_, _ = h.Write(program[:])
	for _, b := range s.bundles {
		sum := b.Sum()
		_, _ = h.Write(sum[:])
	}
	for _, f := range s.findings {
		_, _ = h.Write([]byte(f.String()))
	}
	s.sum = [sha256.Size]byte(h.Sum(nil))
}

// gather finds the packages of the tree, those above before those below.
func (s *Set) gather(root fs.FS, at string) {
	r := cueload.NewReader(root, mostFileBytes)
	folders := 0
	err := fs.WalkDir(root, at, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !e.IsDir():
			if err := cueload.Unread(root, name, e); err != nil {
				s.find(schema.Pos{File: name, Line: 1, Col: 1}, "put the file or folder itself here", "%s", err)
			}
			return nil
		case name != at && (strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "_")) || e.Name() == "cue.mod":
			return fs.SkipDir
		}
		if folders++; folders > mostFolders {
			return fmt.Errorf("more than %d folders", mostFolders)
		}
		return s.folder(r, name)
	})
	if err != nil {
		s.find(schema.Pos{}, "", "the policies cannot be read: %s", err)
	}
	for _, b := range s.bundles {
		s.outside = s.outside || at != "." && slices.ContainsFunc(b.Files, func(f cueload.File) bool { return !strings.HasPrefix(f.Path, at+"/") })
	}
}

func (s *Set) folder(r *cueload.Reader, dir string) error {
	packages, err := r.Packages(dir)
	if err != nil {
		return err
	}
	for _, pkg := range sortedKeys(packages) {
		if pkg != "" {
			b, err := r.Bundle(dir, pkg)
			s.take(b, err, dir)
			continue
		}
		for _, file := range packages[pkg] {
			b, err := r.FileBundle(file)
			s.take(b, err, file)
		}
	}
	return nil
}

func (s *Set) take(b *cueload.Bundle, err error, where string) {
	var ferr *cueload.FileError
	switch {
	case err == nil:
		s.bundles = append(s.bundles, b)
	case errors.As(err, &ferr):
		s.find(schema.Pos{File: ferr.Path, Line: 1, Col: 1}, "", "%s", ferr.Err)
	default:
		s.find(schema.Pos{File: where}, "", "%s", err)
	}
}

// load evaluates every package once, to learn of its policies.
func (s *Set) load(ctx context.Context) error {
	answers := make([]loaded, len(s.bundles))
	items := make([]worker.Item, len(s.bundles))
	for i, b := range s.bundles {
		data, err := json.Marshal(request{Load: &i})
		if err != nil {
			return err
		}
		items[i] = worker.Item{Name: path.Join("policies", b.Dir), Data: data}
	}
	setup, err := s.setup()
	if err != nil {
		return err
	}
	err = s.judge.options.Workers.Run(ctx, worker.Job{Service: Service, Setup: setup, Items: items,
		Done: func(i int, answer []byte) error { return json.Unmarshal(answer, &answers[i]) },
		Blame: func(i int, why string) {
			at := schema.Pos{File: s.bundles[i].Files[0].Path}
			answers[i] = loaded{Findings: []schema.Diagnostic{{Pos: at, Message: "evaluating it " + why, Hint: "split the package up"}}}
		},
	})
	if err != nil {
		return err
	}
	byName := map[string]*Policy{}
	for i, a := range answers {
		s.findings = append(s.findings, a.Findings...)
		for _, p := range a.Policies {
			s.enlist(byName, p, i)
		}
	}
	if len(s.policies) > mostPolicies {
		s.find(schema.Pos{}, "", "more than %d policies", mostPolicies)
	}
	return nil
}

// enlist adds a policy, unless a folder above has it already: CUE makes files
// of one package in a folder and above it one.
func (s *Set) enlist(byName map[string]*Policy, p *Policy, bundle int) {
	p.bundle, p.Package = bundle, s.bundles[bundle].Dir
	if first := byName[p.Name]; first != nil {
		if first.Pos != p.Pos {
			s.find(p.Pos, "policies are overridden by name: give it another", "the policy %s stands twice (also %s)", p.Name, named(first.Pos))
		}
		return
	}
	var err error
	if p.matcher, err = newMatcher(p.Match); err != nil {
		s.find(p.Pos, "", "the policy %s: %s", p.Name, err)
		return
	}
	if glob, hint := p.Match.fitless(); glob != "" {
		s.find(p.Pos, hint, "the policy %s: match.kinds: no kind is %s: it would judge nothing", p.Name, glob)
		return
	}
	byName[p.Name] = p
	s.policies = append(s.policies, p)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
