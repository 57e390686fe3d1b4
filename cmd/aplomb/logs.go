package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/aplomb-dev/aplomb/drivers"
	mesh "github.com/aplomb-dev/aplomb/drivers/mesh/local"
	scheduler "github.com/aplomb-dev/aplomb/drivers/scheduler/local"
	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/schema"
)

// logs answers what processes wrote. handle finds where a resource lives.
func (e *embedded) logs(handle func(schema.ID) (schema.ID, string, error)) func(context.Context, api.LogsQuery, io.Writer) error {
	return func(ctx context.Context, q api.LogsQuery, w io.Writer) error {
		id, at, err := handle(q.ID)
		if err != nil {
			return err
		}
		if id.Kind != scheduler.Kind {
			return hinted{fmt.Errorf("logs of %s: %w: it is no process", id.Short(), api.ErrNotServed), "only local.process has logs"}
		}
		if q.Instance != nil {
			return e.one(ctx, at, *q.Instance, q, w)
		}
		n, err := e.instances(ctx, id, at)
		if err != nil {
			return err
		}
		return e.allLogs(ctx, at, n, q, w)
	}
}

// instances is how many of a process there are.
func (e *embedded) instances(ctx context.Context, id schema.ID, handle string) (int, error) {
	states, err := e.scheduler.Observe(ctx, []drivers.Item{{ID: id, Handle: handle}})
	if err != nil {
		return 0, err
	}
	if states[0].Err != nil {
		return 0, states[0].Err
	}
	n := 0
	if o, ok := states[0].Outputs["instances"]; ok {
		if err := json.Unmarshal(o.Value, &n); err != nil {
			return 0, fmt.Errorf("instances of %s: %w", id.Short(), err)
		}
	}
	return n, nil
}

// allLogs writes what every instance wrote, line by line; where there are
// several, each line says whose it is.
func (e *embedded) allLogs(ctx context.Context, handle string, n int, q api.LogsQuery, w io.Writer) error {
	if n == 1 {
		return e.one(ctx, handle, 0, q, w)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	ended := make(chan error, n)
	for i := range n {
		one := func() {
			lines := asLines(w, i, fmt.Sprintf("%d | ", i), q.JSON)
			lines.mu = &mu
			ended <- e.log(ctx, handle, i, q, lines)
		}
		if q.Follow {
			go one()
			continue
		}
		one() // one after the other, so that what belongs together stays so
	}
	var first error
	for range n {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// one writes what one instance wrote, as it is where text is wanted.
func (e *embedded) one(ctx context.Context, handle string, instance int, q api.LogsQuery, w io.Writer) error {
	if q.JSON {
		return e.log(ctx, handle, instance, q, asLines(w, instance, "", true))
	}
	return e.scheduler.Logs(ctx, handle, scheduler.LogOptions{Instance: instance, Lines: q.Lines, Follow: q.Follow}, w)
}

// log writes the lines that one instance wrote.
func (e *embedded) log(ctx context.Context, handle string, instance int, q api.LogsQuery, w *lineWriter) error {
	err := e.scheduler.Logs(ctx, handle, scheduler.LogOptions{Instance: instance, Lines: q.Lines, Follow: q.Follow}, w)
	w.flush()
	return err
}

// asLines writes the lines of an instance: as JSON, or as text with a prefix.
func asLines(w io.Writer, instance int, prefix string, asJSON bool) *lineWriter {
	l := &lineWriter{out: w, mu: &sync.Mutex{}}
	l.form = func(text []byte) ([]byte, error) { return append([]byte(prefix), text...), nil }
	if asJSON {
		l.form = func(text []byte) ([]byte, error) {
			return json.Marshal(api.LogLine{Instance: instance, Text: string(text)})
		}
	}
	return l
}

// maxLine is how many bytes of a line are held back until it ends.
const maxLine = 64 << 10

// lineWriter writes whole lines, each in a form of its own.
type lineWriter struct {
	out  io.Writer
	mu   *sync.Mutex // shared by the writers of one out
	form func(text []byte) ([]byte, error)
	part []byte
}

// Write holds back a line that has not ended yet.
func (l *lineWriter) Write(b []byte) (int, error) {
	l.part = append(l.part, b...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 && len(l.part) < maxLine {
			return len(b), nil
		}
		if i < 0 {
			i = maxLine - 1
		}
		if err := l.line(bytes.TrimSuffix(l.part[:i+1], []byte("\n"))); err != nil {
			return 0, err
		}
		l.part = l.part[i+1:]
	}
}

func (l *lineWriter) line(text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, err := l.form(text)
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	return err
}

func (l *lineWriter) flush() {
	if len(l.part) > 0 {
		_ = l.line(l.part)
	}
}

// services answers the service catalog.
func (e *embedded) services(ctx context.Context) ([]api.Service, error) {
	entries, err := e.mesh.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]api.Service, 0, len(entries))
	for _, s := range entries {
		all = append(all, service(s))
	}
	return all, nil
}

func service(s mesh.Entry) api.Service {
	out := api.Service{Name: s.Name, Address: s.Address, Port: s.Port, Tags: s.Tags, Passing: true}
	for _, c := range s.Checks {
		out.Passing = out.Passing && c.Passing
		out.Checks = append(out.Checks, api.ServiceCheck{Check: c.Check, Passing: c.Passing, Reason: c.Reason, At: c.At})
	}
	return out
}
