package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/daemon"
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
	at, err := newOffice(f, e, rec, s)
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
		defer r.running.add(e, rec, s.source, at)()
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
	r.watchBeside()
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
		r.watchBeside()
		if asked {
			r.daemon.Retry()
		}
	}
}

// digest stands for what the file holds, and those that are read with it; nil
// where it cannot be read.
func (r *runner) digest() []byte {
	h := sha256.New()
	for i, file := range append([]string{r.file}, r.beside()...) {
		err := digestFile(h, file)
		if err != nil && i == 0 {
			return nil
		}
		_, _ = fmt.Fprintf(h, "%t %s\n", err == nil, file)
	}
	return h.Sum(nil)
}

func digestFile(h io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(h, io.LimitReader(f, config.MaxBytes+1))
	return err
}

// beside are the files that are read with the configuration: that the one in
// force names, and that have findings for which one is refused.
func (r *runner) beside() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	add := func(file string) {
		file, err := filepath.Abs(file)
		if err == nil && file != r.cfg.Path && !slices.Contains(all, file) {
			all = append(all, file)
		}
	}
	for _, e := range r.cfg.Environments {
		if e.Gates.OwnersFile != "" {
			add(e.Gates.OwnersFile)
		}
	}
	for _, f := range r.state.Findings {
		if !r.state.OK && f.Pos.File != "" {
			add(f.Pos.File)
		}
	}
	return all
}

// watchBeside watches what is read with the configuration in force. What was
// watched before stays so: it costs a look.
func (r *runner) watchBeside() {
	for _, file := range r.beside() {
		r.files.Add(file, "")
	}
}

// watch says on moved that the file may have changed.
func (r *runner) watch(ctx context.Context, moved chan<- struct{}) {
	set := r.files
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
