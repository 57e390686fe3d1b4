package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// lines lets several write, each line whole.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes what is one line.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// labelled is an event of one of several environments, for programs.
type labelled struct {
	Environment string `json:"environment"`
	reconciler.Event
}

// tell writes a line for each thing that happens in an environment, until ctx
// ends.
func (r *runner) tell(ctx context.Context, name string, c reconciler.Control) {
	p := *r.a.out
	p.Out, p.Label = r.out, name
	enc := json.NewEncoder(r.out)
	enc.SetEscapeHTML(false)
	one := func(e reconciler.Event) {
		if r.a.format == formatJSON {
			_ = enc.Encode(labelled{name, e}) // who does not read is no reason to end
			return
		}
		p.Event(e)
	}
	for seq := uint64(0); ctx.Err() == nil; {
		past, live := c.Events(ctx, seq)
		for _, e := range past {
			one(e)
			seq = e.Seq
		}
		for e := range live {
			one(e)
			seq = e.Seq
		}
	}
}

// printer is where the daemon itself tells what it has to say.
func (r *runner) printer(out *terminal.Printer, w io.Writer) *terminal.Printer {
	p := *out
	p.Out = w
	return &p
}

// failed tells that an environment is not open.
func (r *runner) failed(name string, err error, next time.Duration) {
	if r.a.format == formatJSON {
		return // the log and the status have it
	}
	r.printer(r.a.errs, r.a.stderr).Error(fmt.Sprintf("environment %s: %s", name, err), strings.TrimPrefix(hintOf(err)+"; tried again in "+next.Round(time.Second).String(), "; "))
}

// note tells of the configuration.
func (r *runner) note(what string, changed []string) {
	if r.a.format == formatJSON {
		return
	}
	line := time.Now().Format("15:04:05") + " · " + what
	if len(changed) > 0 {
		line += ": " + strings.Join(changed[:min(len(changed), mostChanges)], ", ")
	}
	r.printer(r.a.out, r.out).Note(line)
}

// tellRefused tells why a configuration is refused.
func (r *runner) tellRefused(findings []schema.Diagnostic, err error) {
	if r.a.format == formatJSON {
		return
	}
	p := r.printer(r.a.errs, r.a.stderr)
	if err != nil {
		p.Error(err.Error(), hintOf(err))
	}
	for _, d := range findings {
		p.Error(d.String(), d.Hint)
	}
	p.Note(fmt.Sprintf("%s is refused; the configuration that was in force stays so.", r.file))
}
