package reconcilertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// Source is a source whose revisions a test says. The zero value stands at a
// revision that declares nothing; it is safe for concurrent use.
type Source struct {
	mu   sync.Mutex
	revs []snapshot
}

// snapshot is a revision's files, and what it declares where no file does.
type snapshot struct {
	fstest.MapFS
	resources []schema.Resource
}

var _ sources.Source = (*Source)(nil)

// Declare makes a revision that declares just these the tip. No schema sees
// them: Config.Compile must be nil.
func (s *Source) Declare(all ...schema.Resource) { s.say(snapshot{resources: all}) }

// Commit makes a revision of just these files the tip, for a Config.Compile
// that reads them.
func (s *Source) Commit(files fstest.MapFS) { s.say(snapshot{MapFS: files}) }

func (s *Source) say(rev snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revs = append(s.revs, rev)
}

// Tip is the newest revision.
func (s *Source) Tip() sources.Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return revision(len(s.revs))
}

// revision is the nth; no two are of the same tree, not even if they declare
// the same.
func revision(n int) sources.Revision {
	return sources.Revision{ID: fmt.Sprintf("%040d", n), Tree: fmt.Sprint(n)}
}

// Head implements sources.Source.
func (s *Source) Head(context.Context) (sources.Revision, error) { return s.Tip(), nil }

// Fetch implements sources.Source.
func (s *Source) Fetch(_ context.Context, rev sources.Revision) (*sources.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := strconv.Atoi(rev.ID)
	if err != nil || n < 0 || n > len(s.revs) {
		return nil, fmt.Errorf("reconcilertest: revision %s: %w", rev.ID, sources.ErrGone)
	}
	var snap snapshot
	if n > 0 {
		snap = s.revs[n-1]
	}
	return &sources.Snapshot{Revision: revision(n), FS: snap, Close: func() error { return nil }}, nil
}

// declared is the compiler of what Declare said.
func declared(_ context.Context, all reconciler.Snapshots) (reconciler.Compiled, error) {
	tree := all.Declarations.FS
	snap, ok := tree.(snapshot)
	if !ok || len(snap.MapFS) > 0 {
		return reconciler.Compiled{}, fmt.Errorf("reconcilertest: %T holds files, and there is no Config.Compile that reads them", tree)
	}
	return reconciler.Compiled{Resources: slices.Clone(snap.resources), Files: 1}, nil
}

// Resource declares a thing by its kind, its name and the text of its spec.
func Resource(kind, name, spec string) schema.Resource {
	return schema.Resource{ID: schema.ID{Kind: kind, Name: name}, Spec: json.RawMessage(spec), Pos: schema.Pos{File: "a.yaml", Line: 1}}
}
