package terminal

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// refresh is how often lines that change in place are drawn.
const refresh = 100 * time.Millisecond

// Live is a line a resource, layer by layer, that change in place, and a bar
// of how many are converged below them. Nothing else may be written to the
// terminal between its making and Stop. Update is safe for concurrent use.
type Live struct {
	p        *Printer
	since    time.Time
	progress *mpb.Progress
	bar      *mpb.Bar

	mu     sync.Mutex
	status reconciler.Status
}

// Live begins to draw; what a resource became after since is said as what was
// done to it. It is for terminals only.
func (p *Printer) Live(since time.Time) *Live {
	l := &Live{p: p, since: since}
	l.progress = mpb.New(mpb.WithOutput(p.Out), mpb.WithAutoRefresh(), mpb.WithWidth(max(p.Width/3, 10)), mpb.WithRefreshRate(refresh))
	l.bar = l.progress.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.BarExtender(mpb.BarFillerFunc(l.fill), true),
		mpb.PrependDecorators(decor.Name("  ")),
		mpb.AppendDecorators(decor.Any(func(st decor.Statistics) string {
			return fmt.Sprintf(" %d of %d converged, %s", st.Current, st.Total, span(p.now().Sub(since)))
		})))
	return l
}

// Update shows s from the next drawing on.
func (l *Live) Update(s reconciler.Status) {
	l.mu.Lock()
	l.status = s
	l.mu.Unlock() // before the bar is told: it waits for fill, which wants the lock
	l.bar.SetTotal(int64(len(s.Resources)), false)
	l.bar.SetCurrent(int64(s.Counts[reconciler.Converged]))
}

// fill draws the lines above the bar. The library turns them round.
func (l *Live) fill(w io.Writer, _ decor.Statistics) error {
	l.mu.Lock()
	s := l.status
	l.mu.Unlock()
	q := *l.p
	if q.Size != nil {
		if width, height, ok := q.Size(); ok {
			q.Width, q.Height = width, height
		}
	}
	if q.Height == 0 {
		q.Height = 24
	}
	lines := q.frame(s, l.since, q.Height-2)
	slices.Reverse(lines)
	_, err := io.WriteString(w, strings.Join(append(lines, ""), "\n"))
	return err
}

// Stop takes the bar away and leaves the lines as they are now.
func (l *Live) Stop() {
	l.bar.Abort(true)
	l.progress.Wait()
	l.p.Lines(l.status, l.since)
}

// Lines writes a line a resource, layer by layer.
func (p *Printer) Lines(s reconciler.Status, since time.Time) {
	if p.err != nil || len(s.Resources) == 0 {
		return
	}
	_, p.err = io.WriteString(p.Out, strings.Join(p.frame(s, since, len(s.Resources)), "\n")+"\n")
}

// frame is a line a resource, layer by layer, in at most most lines: what is
// converged is left out first, then the end.
func (p *Printer) frame(s reconciler.Status, since time.Time, most int) []string {
	all := slices.Clone(s.Resources)
	slices.SortStableFunc(all, func(a, b reconciler.ResourceStatus) int {
		return slices.Index(schema.Layers, a.Layer) - slices.Index(schema.Layers, b.Layer)
	})
	shown, left := all, 0
	most = max(most, 2)
	if len(all) > most {
		shown = slices.DeleteFunc(slices.Clone(all), func(r reconciler.ResourceStatus) bool { return r.State == reconciler.Converged })
		shown = shown[:min(len(shown), most-1)]
		left = len(all) - len(shown)
	}
	ids := make([]schema.ID, 0, len(all))
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	n := names(ids...)
	name := 22
	for _, r := range shown {
		name = max(name, cells1(n.of(r.ID)))
	}
	if p.Width > 0 {
		name = min(name, max(p.Width/3, 12))
	}
	layer := ""
	lines := make([]string, 0, len(shown)+1)
	for _, r := range shown {
		label := ""
		if r.Layer != layer {
			layer, label = r.Layer, r.Layer
		}
		word := p.outcome(r, since)
		word.text = pad(word.text, 14)
		lines = append(lines, p.render([]cell{
			styled("  "+pad(label, 12)+"  ", bold), text(pad(clip(n.of(r.ID), name), name) + "  "), word, text("  " + p.reason(r)),
		}))
	}
	if left > 0 {
		lines = append(lines, p.render([]cell{styled(fmt.Sprintf("  … and %d more", left), dim)}))
	}
	return lines
}

// outcome is what became of a resource: what was done to it, where that was
// after since and it is converged, else its state.
func (p *Printer) outcome(r reconciler.ResourceStatus, since time.Time) cell {
	if r.State == reconciler.Converged && r.LastAction != "" && r.LastAction != schema.None && !r.LastAt.Before(since) {
		return styled(r.LastAction.Rune()+" "+done(r.LastAction), green)
	}
	return stateCell(r.State)
}

// leastTitle is how many columns of a commit's title are worth showing.
const leastTitle = 12

// Heading writes what is followed, and where: on one line where the terminal is
// wide enough for what matters most.
func (p *Printer) Heading(source, environment, data string, rev reconciler.Status) {
	what, where := "aplomb up "+source, fmt.Sprintf("     environment %q · data %s", environment, data)
	at, title, end := "", "", " · Ctrl-C leaves everything running"
	if r := rev.Revision; r.ID != "" {
		at = " · at " + r.Short()
		if r.Title != "" {
			at, title = " · commit "+r.Short()+" ", fmt.Sprintf("%q", r.Title)
		}
	}
	if left := p.Width - cells1(what+where+at); p.Width > 0 {
		if cells1(title+end) > left {
			end = ""
		}
		if cells1(title) > left && left >= leastTitle {
			title = clip(title, left)
		} else if cells1(title) > left {
			title = ""
		}
	}
	p.flow(2, styled(what, bold), text(where), text(at+title), text(end))
}

// Outcome writes how a turn ended: converged or not, what was done since, and
// what is left.
func (p *Printer) Outcome(s reconciler.Status, since time.Time) {
	done := p.doneSince(s, since)
	took := span(p.now().Sub(since))
	if s.Converged {
		p.flow(2, styled("✓ converged", green), text(fmt.Sprintf(" at %s in %s", s.Revision.Short(), took)), text("    "+done), text("       status: aplomb status -w"))
		return
	}
	var parts []string
	for _, st := range reconciler.States {
		if n := s.Counts[st]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, st))
		}
	}
	p.flow(2, styled("✗ not converged", red), text(fmt.Sprintf(" at %s after %s", s.Revision.Short(), took)), text("    "+done), text(" · "+strings.Join(parts, ", ")))
}

// doneSince is "5 created · nothing to do".
func (p *Printer) doneSince(s reconciler.Status, since time.Time) string {
	counts := map[schema.Action]int{}
	for _, r := range s.Resources {
		if !r.LastAt.Before(since) {
			counts[r.LastAction]++
		}
	}
	counts[schema.Delete] = max(counts[schema.Delete], p.deleted)
	var parts []string
	for _, a := range []schema.Action{schema.Create, schema.Adopt, schema.Update, schema.Replace, schema.Delete} {
		if n := counts[a]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, done(a)))
		}
	}
	if len(parts) == 0 {
		return "nothing to do"
	}
	return strings.Join(parts, " · ")
}
