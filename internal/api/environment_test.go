package api

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// several is environments that come and go.
type several struct {
	mu  sync.Mutex
	all []*Environment
}

func (s *several) set(all ...*Environment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = all
}

func (s *several) list() []*Environment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// named is an environment of that name, and what stops it.
func named(name string, c reconciler.Control) (*Environment, func()) {
	done := make(chan struct{})
	e := &Environment{Info: EnvironmentInfo{Name: name, Started: time.Now()}, Control: c, Done: done}
	if c == nil {
		e.Info.Error, e.Info.Hint = "its store is broken", "restore it"
	}
	return e, func() { close(done) }
}

// TestSeveral: each environment has its own routes; one that cannot be opened
// says why, and the others answer.
func TestSeveral(t *testing.T) {
	one, _ := named("test", newEnv())
	two, _ := named("two", nil)
	all := &several{all: []*Environment{one, two}}
	s := server(one)
	s.Environments = all.list
	path := t.TempDir() + "/s"
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, s, l))
	c := dial(t, path)
	list, err := c.Environments(t.Context())
	if err != nil || len(list) != 2 || !list[0].Open || list[0].Counts[reconciler.Held] != 1 || list[1].Open || list[1].Error != "its store is broken" {
		t.Errorf("%+v, %v", list, err)
	}
	broken := c.Daemon.Environment("two")
	if broken.Status(); !errors.Is(broken.Err(), ErrNotOpen) || !strings.Contains(broken.Err().Error(), "its store is broken") || HintOf(broken.Err()) != "restore it" {
		t.Errorf("%v, hint %q", broken.Err(), HintOf(broken.Err()))
	}
	unknown := c.Daemon.Environment("three")
	if unknown.Status(); !errors.Is(unknown.Err(), ErrEnvironment) || HintOf(unknown.Err()) != "there are test, two" {
		t.Errorf("%v, hint %q", unknown.Err(), HintOf(unknown.Err()))
	}
	if c.Status(); c.Err() != nil {
		t.Error(c.Err())
	}
}

// TestRestart: who waits for, or hears of, an environment that is started again
// goes on with the new one.
func TestRestart(t *testing.T) {
	old := newEnv()
	one, stop := named("test", old)
	all := &several{all: []*Environment{one}}
	s := server(one)
	s.Environments = all.list
	path := t.TempDir() + "/s"
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, s, l))
	c := dial(t, path)
	_, live := c.Events(t.Context(), 0)
	asked, waited := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		_, err := c.Wait(t.Context(), func(st reconciler.Status) bool {
			once.Do(func() { close(asked) })
			return st.Converged
		})
		waited <- err
	}()
	<-asked
	closed, _ := named("test", nil)
	all.set(closed)
	stop()
	next := newEnv()
	next.change("", "again", "", "", func(s *reconciler.Status) { s.Converged = true })
	two, _ := named("test", next)
	all.set(two)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if e := <-live; e.Type != "again" {
		t.Errorf("heard of %+v", e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Wait(ctx, func(reconciler.Status) bool { return false }); err == nil {
		t.Error("a wait whose context ended has no error")
	}
}
