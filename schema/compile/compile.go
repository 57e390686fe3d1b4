package compile

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// Options configure a Compiler.
type Options struct {
	// Workers is where files are checked; it has the service of this package,
	// and is not closed with the Compiler. nil checks in this process, with
	// neither deadline nor memory limit: for tests and tools that read only
	// what they wrote.
	Workers *worker.Pool
	// CacheDir holds the cache over restarts; it is made if it is missing. ""
	// keeps it in memory only.
	CacheDir string
	// Log hears of caches that could not be kept; nil is silence.
	Log logrus.FieldLogger
	// Limits bound what a tree may cost.
	Limits Limits
}

// Result is what a tree declares: all resources, ordered by file and place, or
// all findings about one document at a time. What documents mean to each other
// (duplicates, what refers to nothing, cycles) is for the graph to say.
type Result struct {
	Resources []schema.Resource   // nil if there are findings
	Findings  []schema.Diagnostic // ordered by place
	Files     int                 // declaration files that were looked at
	Outside   bool                // something outside of the tree, but in its Root, has a part in it

	// Seen is Resources; with findings it is what could be made out in spite
	// of them, so that the graph can look for more. A declaration with findings
	// is there without Spec; its Kind or Name is empty where it is not known,
	// and a target of it is "" where they are not. It is never to be planned.
	Seen []schema.Resource
}

// Compiler compiles trees. It is safe for concurrent use.
type Compiler struct {
	options Options
	cache   *cache
	setup   []byte // for the workers
}

// New makes a Compiler. It starts nothing yet.
func New(o Options) *Compiler {
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = silent()
	}
	if o.Workers == nil {
		o.Workers = worker.New(worker.Options{Services: worker.Services{Service: NewHandler}})
	}
	setup, err := json.Marshal(handlerSetup{Limits: o.Limits})
	if err != nil {
		panic(err) // numbers
	}
	return &Compiler{options: o, cache: newCache(o.CacheDir, o.Log), setup: setup}
}

// Declarations is a tree of declarations and what they may lean on.
type Declarations struct {
	FS fs.FS // the tree: every declaration below its root is read

	// Root is the repository that FS lies in, at Path, for what CUE imports
	// from beside or above it; nil: FS is all there is.
	Root fs.FS
	Path string // slash-separated; "" or "." where FS is Root

	// Part says that FS is not all of it: uses of templates that it has not may
	// be declared elsewhere.
	Part bool

	// Templates is the tree of the operator's templates; nil: those that are
	// shipped.
	Templates fs.FS
	// Values are what the operator says of the environment, for templates.
	Values map[string]json.RawMessage
	// Environment is its name, for templates.
	Environment string
}

// Compile reads every declaration of a tree. What is wrong with the declarations
// are Findings; an error means that they could not be looked at: ctx ended, or
// no worker could be started.
func (c *Compiler) Compile(ctx context.Context, d Declarations) (Result, error) {
	t, err := scan(ctx, d.FS, c.options.Limits)
	if err != nil {
		return Result{}, fmt.Errorf("read the declarations: %w", err)
	}
	round := c.cache.begin()
	inputs, err := t.read(ctx, func(k cacheKey) *fileResult { return c.cache.get(k, round) })
	if err != nil {
		return Result{}, fmt.Errorf("read the declarations: %w", err)
	}
	packages, outside, err := t.packages(ctx, d, func(k cacheKey) *fileResult { return c.cache.get(k, round) })
	if err != nil {
		return Result{}, fmt.Errorf("read the declarations: %w", err)
	}
	inputs = append(inputs, packages...)
	results, err := c.check(ctx, round, c.setup, inputs)
	if err != nil {
		return Result{}, fmt.Errorf("check the declarations: %w", err)
	}
	files := len(inputs)
	inputs, results, err = c.unfold(ctx, round, d, inputs, results)
	if err != nil {
		return Result{}, fmt.Errorf("unfold the templates: %w", err)
	}
	c.cache.save(round)
	t.part = d.Part
	res := t.assemble(inputs, results, files)
	res.Files, res.Outside = len(t.files)+len(t.cue), outside
	return res, nil
}

// check answers a result for every input, in order. They share setup.
func (c *Compiler) check(ctx context.Context, round int, setup []byte, inputs []input) ([]fileResult, error) {
	results := make([]fileResult, len(inputs))
	var missing []int
	for i, in := range inputs {
		if in.hit == nil {
			missing = append(missing, i)
			continue
		}
		results[i] = *in.hit
	}
	var blamed atomic.Int64
	for len(missing) > 0 {
		some := missing[:portion(inputs, missing)]
		missing = missing[len(some):]
		todo := make([]input, len(some))
		for n, i := range some {
			todo[n] = inputs[i]
		}
		if blamed.Load() >= maxBlamed {
			for _, i := range some {
				results[i] = failed(inputs[i].Path, "checking it was not tried: others before it took too much time or memory")
			}
			continue
		}
		if err := c.run(ctx, setup, todo, func(n int, r fileResult, keep bool) {
			results[some[n]] = r
			if keep {
				c.cache.put(todo[n].key, round, r)
			} else {
				blamed.Add(1)
			}
		}); err != nil {
			return results, err
		}
	}
	return results, nil
}

// maxPending bounds, in bytes, what is on its way to the workers at once:
// packages of CUE bring what they import, each for itself. maxBlamed is how
// many inputs may end a worker until no more are tried.
const (
	maxPending = 64 << 20
	maxBlamed  = 5
)

// portion is how many of the missing inputs are checked next.
func portion(inputs []input, missing []int) int {
	size := 0
	for n, i := range missing {
		if size += inputs[i].size(); n > 0 && size > maxPending {
			return n
		}
	}
	return len(missing)
}

// assemble puts the results together: of so many files, and then of uses.
func (t *tree) assemble(inputs []input, results []fileResult, files int) Result {
	named := uses{}
	count := 0
	for _, r := range results {
		count += len(r.Resources)
		for _, u := range r.Uses {
			named[u.File] = named[u.File] || u.Folder
		}
	}
	findings := t.findings
	all := make([]schema.Resource, 0, count)
	loader := newLoader(t)
	for i, r := range results {
		if r.Foreign && named.covers(inputs[i].Path) {
			continue
		}
		findings = append(findings, r.Findings...)
		first := len(all)
		all = append(all, r.Resources...)
		for _, u := range r.Uses {
			files, ok := loader.load(u)
			if u.Resource < 0 {
				continue
			}
			if res := &all[first+u.Resource]; ok {
				for _, f := range files {
					res.Files = addFile(res.Files, f)
				}
			} else {
				res.Spec = nil // without its files nobody can judge it
			}
		}
		for _, f := range r.Broken {
			all = append(all, f.resource())
		}
		originate(all[first:], inputs[i].Path)
	}
	findings = append(findings, loader.findings...)
	if len(t.cue) > 0 {
		all = distinct(all)
	}
	if t.holes {
		all = append(all, schema.Resource{})
	}
	findings = append(findings, standIn(all, results, t.part)...)
	if len(all) == 0 && len(findings) == 0 {
		findings = []schema.Diagnostic{{Message: "no declaration is found below the root: an empty tree deletes nothing",
			Hint: "declarations are files that end in .yaml, .yml, .json or .cue"}}
	}
	if len(findings) > 0 || len(results) > files {
		slices.SortStableFunc(all, func(a, b schema.Resource) int { return a.Pos.Compare(b.Pos) })
	}
	if len(findings) > 0 {
		return Result{Findings: bound(schema.SortDiagnostics(findings)), Seen: all}
	}
	return Result{Resources: all, Seen: all}
}

// uses are the files and folders that specs name; true for folders.
type uses map[string]bool

// covers says whether a file is named, or lies in a folder that is.
func (u uses) covers(name string) bool {
	if _, ok := u[name]; ok {
		return true
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if u[dir] {
			return true
		}
	}
	return false
}

func addFile(files schema.Tree, f schema.File) schema.Tree {
	at, found := slices.BinarySearchFunc(files, f.Path, func(a schema.File, p string) int { return strings.Compare(a.Path, p) })
	if found {
		return files
	}
	return slices.Insert(slices.Clip(files), at, f)
}
