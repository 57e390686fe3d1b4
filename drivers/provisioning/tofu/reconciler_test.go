//go:build e2e

package tofu

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// planning counts the plans that are made.
type planning struct {
	drivers.Driver
	plans atomic.Int64
}

func (p *planning) Plan(ctx context.Context, it drivers.Item, s drivers.State) (drivers.Change, error) {
	p.plans.Add(1)
	return p.Driver.Plan(ctx, it, s)
}

// Unwrap lets what else the driver can be found.
func (p *planning) Unwrap() drivers.Driver { return p.Driver }

const resync = 12 * time.Second

// TestReconciled: between resyncs an idle stack costs no plan, a resync finds
// drift, an output moves its dependents, a deletion is held.
func TestReconciled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	d.Now, d.Refresh = nil, resync*9/10
	p := &planning{Driver: d}
	src := &reconcilertest.Source{}
	stack := func(name, content string, fields ...schema.FieldRef) schema.Resource {
		want := w.things(t, thingsVars{Names: []string{name}, Content: content}, "")
		return schema.Resource{ID: schema.ID{Kind: Kind, Name: name}, Spec: want.Spec, Files: want.Files, Refs: fields, Data: true, Pos: schema.Pos{File: "a.yaml", Line: 1}}
	}
	const ref = "of @{tofu.stack/net.ids[0]}"
	app := func() schema.Resource {
		return stack("app", ref, schema.FieldRef{Path: "/vars/content", Text: ref})
	}
	src.Declare(stack("net", "one"), app())
	r := reconcilertest.Start(t, reconcilertest.Config{
		ID: "env-1", Source: src, Log: &drivertest.Log{},
		Target: drivers.Target{Name: "tofu", Engine: "tofu", Kinds: []string{Kind}, Driver: p, Identity: "here", Version: DriverVersion, Resync: resync},
	})
	const within = 2 * time.Minute
	r.Converges(t, within, "two stacks, one of which waits for an output")
	if data, err := os.ReadFile(w.file("app")); err != nil || !strings.Contains(string(data), "of id-net") {
		t.Fatalf("%s, %v", data, err)
	}
	before := p.plans.Load()
	idle := time.NewTimer(resync / 3)
	defer idle.Stop()
	<-idle.C
	if n := p.plans.Load() - before; n > 2 { // a resync of both may lie within
		t.Errorf("%d plans of what did not change", n)
	}
	w.edit(t, "net", func(m map[string]any) { m["content"] = "by hand" })
	r.Until(t, within, "a repair of what drifted", func(reconciler.Status) bool {
		data, err := os.ReadFile(w.file("net"))
		return err == nil && strings.Contains(string(data), `"content":"one"`)
	})
	r.Converges(t, within, "convergence after it")

	src.Declare(stack("net", "two"))
	held := r.Held(t, within, schema.Delete, "tofu.stack/app")
	if _, err := os.Stat(w.file("app")); err != nil {
		t.Fatalf("it was destroyed without asking: %v", err)
	}
	_, err := r.Approve(t.Context(), "ana", reconciler.Yes{Digest: held.Digest, Why: "it is not needed"})
	drivertest.Must(t, err)
	r.Converges(t, within, "the deletion")
	if made := w.made(t); len(made) != 1 || made[0] != "net" {
		t.Errorf("%v", made)
	}
}
