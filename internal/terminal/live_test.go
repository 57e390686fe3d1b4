package terminal

import (
	"sync/atomic"
	"testing"
	"time"
)

// drawn counts how often a terminal is drawn to.
type drawn struct{ n atomic.Int64 }

func (d *drawn) Write(b []byte) (int, error) {
	d.n.Add(1)
	return len(b), nil
}

// TestLiveKeepsUp: news that come at any moment, also while lines are drawn,
// hold nothing up.
func TestLiveKeepsUp(t *testing.T) {
	out := &drawn{}
	p := &Printer{Out: out, Terminal: true, Width: 80, Height: 24}
	live := p.Live(time.Now())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for st := aStatus(); out.n.Load() < 5; st.Seq++ {
			live.Update(st)
		}
		live.Stop()
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("drawing and news wait for each other")
	}
}
