package notify

import (
	"context"
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
)

// TestApart: what happens together is told together, and what comes and goes is
// not told each time.
func TestApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, err := OpenBook(filepath.Join(t.TempDir(), "notify.json"), []string{"ops"})
		if err != nil {
			t.Fatal(err)
		}
		h, begin := reconcilertest.NewStatus(), time.Now()
		type said struct {
			after time.Duration
			items int
		}
		var all []said
		log := logrus.New()
		log.SetOutput(io.Discard)
		n := &Notifier{Log: log, Environment: "prod", Name: "ops", On: Whats, Book: book, Status: h.Status, Wait: h.Wait,
			Send: func(_ context.Context, m Message) error {
				all = append(all, said{time.Since(begin), len(m.Items)})
				return nil
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); n.Run(ctx) }()
		h.Set(at("one", true, "a held x", "b converged"))
		time.Sleep(DefaultGather - time.Second)
		h.Set(at("one", true, "a held x", "b degraded"))
		time.Sleep(2 * time.Second)
		for range 100 {
			time.Sleep(time.Second)
			h.Set(at("one", true, "a held x", "b converged"))
			time.Sleep(time.Second)
			h.Set(at("one", true, "a held x", "b degraded"))
		}
		synctest.Wait()
		cancel()
		<-done
		if len(all) == 0 || all[0] != (said{DefaultGather, 2}) || len(all) > 8 {
			t.Errorf("said %v", all)
		}
		for i := 1; i < len(all); i++ {
			if all[i].after-all[i-1].after < apart*DefaultGather {
				t.Errorf("not far enough from each other: %v", all)
			}
		}
	})
}
