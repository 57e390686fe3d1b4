package proposals

import (
	"context"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources"
)

// While much runs beside what is held the status changes all the time: the forge
// is not asked each time, and is asked soon.
func TestApproverApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book")
	synctest.Test(t, func(t *testing.T) {
		h := reconcilertest.NewStatus()
		h.Set(at("aaa", false, reconciler.Held, reconciler.Progressing))
		var looks atomic.Int32
		log := logrus.New()
		log.SetOutput(io.Discard)
		a := &Approver{Environment: "prod", Forge: people{board: newBoard()}, Book: opened(t, path), Status: h.Status, Wait: h.Wait, Interval: time.Hour, Log: log,
			Since: func(context.Context, sources.Revision, sources.Revision) ([]sources.Revision, error) {
				looks.Add(1)
				return nil, nil
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		for range 100 {
			synctest.Wait()
			h.Set(at("aaa", false, reconciler.Held, reconciler.Progressing))
		}
		synctest.Wait()
		if n := looks.Load(); n != 1 {
			t.Errorf("%d looks while the status changed a hundred times at once", n)
		}
		time.Sleep(apart)
		synctest.Wait()
		if n := looks.Load(); n != 2 {
			t.Errorf("%d looks, %s later", n, apart)
		}
		cancel()
		<-done
	})
}
