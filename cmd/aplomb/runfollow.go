package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/daemon"
	"github.com/aplomb-dev/aplomb/internal/pathwatch"
)

// Times of looking at the configuration.
const (
	settleTime = 100 * time.Millisecond // editors write in several steps
	lookTime   = time.Minute            // where no notification comes
)

// open opens an environment for the daemon.
func (r *runner) open(ctx context.Context, e config.Environment) (*daemon.Opened, error) {
	o, err := r.opened(ctx, e)
	if err != nil {
		return nil, hinted{err, hintOf(err)}
	}
	return o, nil
}

func (r *runner) opened(ctx context.Context, e config.Environment) (*daemon.Opened, error) {
	f, err := r.home.folder(e)
	if err != nil {
		return nil, err
	}
	s, rec, err := r.a.wire(ctx, f, opening{source: sourceOf(e), section: &e, file: r.home.record.Configuration})
	if err != nil {
		return nil, err
	}
	at, err := newOffice(f, e, rec, s.source, s.registry, s.log)
	if err == nil {
		err = at.propose(e, rec, s.source, &r.running)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	told, err := newNotifiers(f, e, s.Control, s.log)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	o := &daemon.Opened{Stats: s.stats, Meters: s.meters, Close: s.close}
	o.Info, o.Control, o.Logs, o.Services = s.env, s.Control, s.logs, s.services
	if at != nil {
		o.Hook, o.Set = at.hook, at.setter(e, rec, s.source, s.workers)
	}
	o.Run = func(ctx context.Context) error {
		defer r.running.add(e, rec, s.source)()
		var beside sync.WaitGroup
		inner, cancel := context.WithCancel(ctx)
		beside.Go(func() { r.tell(inner, e.Name, s.Control) })
		beside.Go(func() { at.run(inner) })
		beside.Go(func() { tellAll(inner, told) })
		defer func() {
			cancel()
			beside.Wait()
		}()
		return rec.Run(ctx)
	}
	return o, nil
}

// sourceOf is what an environment of a configuration follows.
func sourceOf(e config.Environment) follow {
	return follow{Git: e.Source.Git, Branch: e.Source.Branch, Path: e.Source.Path, Interval: time.Duration(e.Source.Interval).String()}
}

// follow reads the configuration again when its file changes, and on SIGHUP,
// until ctx ends.
func (r *runner) follow(ctx context.Context, hup <-chan os.Signal) {
	moved := make(chan struct{}, 1)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch(ctx, moved)
	}()
	defer func() { <-watched }()
	look := time.NewTicker(lookTime)
	defer look.Stop()
	last := r.digest()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hup:
			asked = true
			r.log.Info("asked to read the configuration again")
		case <-moved:
			pause(ctx, settleTime)
		case <-look.C:
		}
		now := r.digest()
		if !asked && bytes.Equal(now, last) {
			continue
		}
		last = now
		r.reload(ctx)
		if asked {
			r.daemon.Retry()
		}
	}
}

// digest stands for what the file holds; nil where it cannot be read.
func (r *runner) digest() []byte {
	f, err := os.Open(r.file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, config.MaxBytes+1)); err != nil {
		return nil
	}
	return h.Sum(nil)
}

// watch says on moved that the file may have changed.
func (r *runner) watch(ctx context.Context, moved chan<- struct{}) {
	set := &pathwatch.Set{Log: r.log}
	set.Add(r.home.record.Configuration, "")
	if real, err := filepath.EvalSymlinks(r.home.record.Configuration); err == nil {
		set.Add(real, "")
	}
	for ctx.Err() == nil {
		err := set.Run(ctx, func(...string) {
			select {
			case moved <- struct{}{}:
			default:
			}
		})
		if err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			r.log.WithError(err).Warn("the configuration is not watched; it is looked at every minute")
			pause(ctx, lookTime)
		}
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
