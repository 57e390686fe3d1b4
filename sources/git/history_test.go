package git

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

// drafted makes a commit of a second of the epoch, on top of others.
func drafted(t *testing.T, s *store, tree plumbing.Hash, second int64, message string, parents ...plumbing.Hash) plumbing.Hash {
	t.Helper()
	by := object.Signature{Name: "ana", Email: "ana@example.org", When: time.Unix(second, 0).UTC()}
	c := &object.Commit{Author: by, Committer: by, Message: message, TreeHash: tree, ParentHashes: parents}
	h, err := (&draft{store: s}).put(plumbing.CommitObject, c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Of what came with a revision the newest are told, and what is not told is not
// read: the last of more than are told cannot be.
func TestSinceReadsWhatItTells(t *testing.T) {
	r := gittest.New(t)
	r.Commit("base", "a", "1")
	s := open(t, Config{URL: r.Dir, Branch: "main"})
	base := plumbing.NewHash(r.Head())
	tree := plumbing.NewHash(r.Git("rev-parse", "HEAD^{tree}"))
	tip := drafted(t, s.store, plumbing.NewHash("1"), 2_000_000_000, "unreadable", base)
	for i := range int64(MaxSince) {
		tip = drafted(t, s.store, tree, 2_000_000_001+i, "x", tip)
	}
	all, err := s.Since(t.Context(), sources.Revision{ID: base.String()}, sources.Revision{ID: tip.String()})
	if err != nil || len(all) != MaxSince || all[0].ID != tip.String() {
		t.Fatalf("%d revisions, %v", len(all), err)
	}
	if !slices.IsSortedFunc(all, func(a, b sources.Revision) int { return b.At.Compare(a.At) }) {
		t.Error("not the newest first")
	}
}

// That what is followed was a file once is no reason to tell nothing of what came
// since.
func TestSinceWhereTheFolderWasAFile(t *testing.T) {
	r := gittest.New(t)
	base := r.Commit("base", "a", "1")
	file := r.Commit("a file", "prod", "1")
	r.Git("rm", "-q", "prod")
	tip := r.Commit("a folder", "prod/x", "1")
	s := open(t, Config{URL: r.Dir, Branch: "main", Path: "prod"})
	all, err := s.Since(t.Context(), sources.Revision{ID: base}, sources.Revision{ID: tip})
	if err != nil || len(all) != 2 || !slices.ContainsFunc(all, func(r sources.Revision) bool { return r.ID == file && r.Title == "a file" && r.Tree == "" }) {
		t.Errorf("%+v, %v", all, err)
	}
}

// A commit with many parents, each with a long text, costs a walk the names of
// the parents: a small pack can hold any number of them.
func TestWalkHoldsNoTexts(t *testing.T) {
	s := mirrored(t)
	const parents, size = 48, 3 << 20
	text := strings.Repeat("x", size)
	var all []plumbing.Hash
	for i := range int64(parents) {
		all = append(all, drafted(t, s, plumbing.ZeroHash, i, text))
	}
	tip := drafted(t, s, plumbing.ZeroHash, parents, "tip", all...)
	s.close()
	held := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, visited, most := held(), 0, uint64(0)
	err := s.walk(t.Context(), tip, func(*object.Commit) bool {
		if visited++; visited == 2 { // all parents wait
			most = held()
		}
		return true
	})
	if err != nil || visited != parents+1 {
		t.Fatalf("%d visited, %v", visited, err)
	}
	if most > before && most-before > parents*size/2 {
		t.Errorf("%d MB are held while %d parents wait", (most-before)>>20, parents)
	}
}

// Of a very long message the end is told, in which trailers stand.
func TestLongMessage(t *testing.T) {
	r := gittest.New(t)
	r.Commit("base", "a", "1")
	s := open(t, Config{URL: r.Dir, Branch: "main"})
	message := "title\n\nquoted: 1\n\n" + strings.Repeat("x", mostWords) + "\n\nlast: 1\n"
	c, err := s.Commit(drafted(t, s.store, plumbing.ZeroHash, 1, message).String(), nil)
	if err != nil || len(c.Message) != mostWords || !strings.HasSuffix(message, c.Message) || c.Title != "title" {
		t.Errorf("%d bytes, title %q, %v", len(c.Message), c.Title, err)
	}
}

// An agent that takes a question and never answers is given up with the
// conversation: it would keep the source from ever asking anything again.
func TestSilentAgent(t *testing.T) {
	repo, _ := started(t, throughSSH)
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("SSH_AUTH_SOCK", socket)
	cfg := repo.cfg
	cfg.Auth.KeyFile, cfg.Auth.Agent, cfg.Timeout = "", true, time.Second
	s := open(t, cfg)
	failed := make(chan error, 1)
	go func() {
		_, err := s.Head(context.WithoutCancel(t.Context()))
		failed <- err
	}()
	select {
	case err := <-failed:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the agent is waited for without end")
	}
}
