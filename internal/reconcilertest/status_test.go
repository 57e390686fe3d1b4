package reconcilertest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// TestStatus: who waits sees what is set, and is let go with its context.
func TestStatus(t *testing.T) {
	s := reconcilertest.NewStatus()
	got := make(chan reconciler.Status)
	go func() {
		st, err := s.Wait(t.Context(), func(st reconciler.Status) bool { return st.Settled })
		if err != nil {
			t.Error(err)
		}
		got <- st
	}()
	<-s.Idle
	s.Set(reconciler.Status{Environment: "a"})
	s.Set(reconciler.Status{Environment: "b", Settled: true})
	if st := <-got; st.Environment != "b" || st.Seq != 2 || s.Status().Seq != 2 {
		t.Errorf("%+v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Wait(ctx, func(reconciler.Status) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
