// Package sources holds the contracts between the reconciler and the places
// that desired state comes from and goes back to: a Git repository, a plain
// folder, a forge. It must not know how declarations are read, nor what is
// done with them.
package sources

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// Revision names one immutable state of a source.
type Revision struct {
	ID     string    `json:"id"`              // commit hash, or hash of a folder's content
	Tree   string    `json:"tree"`            // hash of what lies under the configured path: equal means nothing to read
	Title  string    `json:"title,omitempty"` // first line of the commit message
	Author string    `json:"author,omitempty"`
	Signer string    `json:"signer,omitempty"` // who signed it, of the operator's list; "" where there is none
	At     time.Time `json:"at,omitzero"`      // of the commit; of a folder: when it was read
}

// Short is what screens show of a revision.
func (r Revision) Short() string {
	if len(r.ID) > 7 {
		return r.ID[:7]
	}
	return r.ID
}

// Snapshot is the tree of one revision. FS is rooted at the configured path,
// immutable, safe for concurrent use, and reads bounded files only; it stays
// readable until Close.
type Snapshot struct {
	Revision Revision
	FS       fs.FS
	Close    func() error // never nil

	// Root is the whole of the repository, in which FS lies at Path
	// (slash-separated), with the same properties; nil: FS is all there is.
	Root fs.FS
	Path string
}

// Source is where desired state comes from. Calls may be concurrent. An error
// leaves what was fetched before in force: the caller keeps its last Snapshot.
type Source interface {
	// Head asks, cheaply, for the tip.
	Head(ctx context.Context) (Revision, error)
	// Fetch reads a revision that Head gave, or an older one that the source
	// still holds. Ancestry is checked, and the signature of a new tip where
	// that is asked for: ErrRewound, ErrUnsigned, ErrTooLarge, ErrGone.
	Fetch(ctx context.Context, rev Revision) (*Snapshot, error)
}

// Watcher is a Source that can say when it is worth asking for Head. changed
// is a hint: it may come too often, and the interval catches what it misses.
// Watch returns when ctx ends.
type Watcher interface {
	Watch(ctx context.Context, changed func()) error
}

// Ancestry is a Source whose revisions have parents.
type Ancestry interface {
	// Contains says whether descendant is, or came after, ancestor.
	Contains(ctx context.Context, descendant, ancestor Revision) (bool, error)
	// Resolve finds the revision that a person names: a whole hash or at
	// least 7 hex digits of one that the followed branch contains.
	Resolve(ctx context.Context, name string) (Revision, error)
}

// Merger is a Source that can show what a proposal would make of it.
type Merger interface {
	// Merge reads what merging a proposal into the followed branch would give.
	// ref is where the repository keeps the proposal, such as
	// refs/pull/7/head, and head the commit that it is known to be at: where
	// it has moved on since, the error is ErrMoved. The merge compares whole
	// files, three ways; nothing is written to the repository, and what is in
	// force stays so.
	Merge(ctx context.Context, ref, head string) (*Merged, error)
}

// Merged is a proposal as it would be merged.
type Merged struct {
	Head, Onto Revision  // of the proposal, and of the branch
	Snapshot   *Snapshot // nil where there are conflicts, or Apart; its Revision is Head, with the tree of the merge
	Conflicts  []string  // paths that both sides changed, from the root of the repository, at most a hundred
	Apart      string    // why the two histories do not go together at all; else ""
	Unsigned   string    // where a new tip has to be signed: why nobody who may has signed Head; else ""
}

// Report is what is written back about an environment.
type Report struct {
	Environment string            // names the folder
	Title       string            // first line of a commit message
	Files       map[string][]byte // by path below the environment's folder
}

// Reporter writes reports back. Report is idempotent: equal content writes
// nothing. An error means that nothing was written; the caller asks again.
type Reporter interface {
	Report(ctx context.Context, r Report) error
}

// What went wrong with a source, for errors.Is.
var (
	ErrRewound  = errors.New("the branch was rewound: its tip does not contain the revision in force")
	ErrUnsigned = errors.New("it is not signed by a key that may")
	ErrTooLarge = errors.New("the source is larger than its limit")
	ErrGone     = errors.New("the source no longer holds that")
	ErrMoved    = errors.New("the proposal has moved on")
)
