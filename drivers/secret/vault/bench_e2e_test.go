//go:build e2e

package vault

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	benchPolicies = 1000
	benchRounds   = 5
)

// policyBench is the same work done twice: by the driver, and by the bare API
// client with the same concurrency and read-back.
type policyBench struct {
	*testing.B
	driver *Driver
	bare   *api.Client
	items  []drivers.Item
}

// BenchmarkPolicies makes 1,000 policies from nothing, looks at them where
// there is nothing to do, and changes one, alternating with the bare client:
// the ratio of the medians is what the driver costs.
func BenchmarkPolicies(b *testing.B) {
	v := enginetest.Vault(b)
	root := schema.NewSecret(v.Token)
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = v.Address, 0
	config.HttpClient.Transport.(*http.Transport).MaxConnsPerHost = drivers.DefaultConcurrency
	config.HttpClient.Transport.(*http.Transport).MaxIdleConnsPerHost = drivers.DefaultConcurrency
	client, err := api.NewClient(config)
	drivertest.Must(b, err)
	client.SetToken(v.Token)
	p := &policyBench{B: b, bare: client}
	p.driver = &Driver{Env: env, URL: v.Address, Token: func() (schema.Secret, error) { return root, nil }, Fingerprint: drivertest.Fingerprint}
	for b.Loop() {
		p.measure()
	}
}

func (p *policyBench) measure() {
	times := map[string][]time.Duration{}
	run := func(name string, f func()) {
		began := time.Now()
		f()
		times[name] = append(times[name], time.Since(began))
	}
	bare := func() {
		p.clear()
		run("create bare", p.bareCreate)
		run("nothing bare", func() { p.bareChange(0) })
		run("one bare", func() { p.bareChange(1) })
	}
	driver := func() {
		p.clear()
		p.declare(0)
		run("create", func() { p.turn(schema.Create, benchPolicies) })
		run("nothing", func() { p.turn(schema.None, benchPolicies) })
		p.declare(1)
		run("one", func() { p.turn(schema.Update, 1) })
	}
	for round := range benchRounds {
		first, second := bare, driver
		if round%2 == 1 {
			first, second = driver, bare
		}
		first()
		second()
	}
	for _, name := range []string{"create", "nothing", "one"} {
		driver, bare := median(times[name]), median(times[name+" bare"])
		p.ReportMetric(float64(driver)/float64(bare), name+"/bare")
		p.Logf("%s of %d policies: %s, the bare client %s, ratio %.2f", name, benchPolicies, driver, bare, float64(driver)/float64(bare))
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func benchText(i, change int) string {
	return fmt.Sprintf("path \"secret/data/app-%d\" {\n  capabilities = [\"read\"] # %d\n}", i, change)
}

// declare makes the items; the last change of them are declared otherwise.
func (p *policyBench) declare(change int) {
	before := p.items
	p.items = make([]drivers.Item, benchPolicies)
	for i := range p.items {
		n := 0
		if i >= benchPolicies-change {
			n = 1
		}
		name := fmt.Sprintf("app-%d", i)
		p.items[i] = drivers.Item{ID: schema.ID{Kind: Policy, Name: name}, Handle: "policy/" + name,
			Want: &drivers.Desired{Spec: drivertest.JSON(p, map[string]any{"policy": benchText(i, n)})}}
		if change > 0 {
			p.items[i].Last = before[i].Last
		}
	}
}

// turn observes, plans and applies, as a reconciler does.
func (p *policyBench) turn(action schema.Action, want int) {
	ctx := p.Context()
	states, err := p.driver.Observe(ctx, p.items)
	drivertest.Must(p, err)
	did := make([]bool, len(states))
	err = each(ctx, len(states), drivers.DefaultConcurrency, func(i int) error {
		c, err := p.driver.Plan(ctx, p.items[i], states[i])
		did[i] = err == nil && c.Action == action
		if err != nil || c.Action == schema.None {
			return err
		}
		s, err := p.driver.Apply(ctx, c)
		p.items[i].Last = &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: p.items[i].Want.Spec}
		return err
	})
	drivertest.Must(p, err)
	n := 0
	for _, d := range did {
		if d {
			n++
		}
	}
	if n != want {
		p.Fatalf("%d of the action %s, want %d", n, action, want)
	}
}

func (p *policyBench) bareCreate() {
	p.each(func(ctx context.Context, i int) error {
		name := fmt.Sprintf("app-%d", i)
		if err := p.bare.Sys().PutPolicyWithContext(ctx, name, benchText(i, 0)); err != nil {
			return err
		}
		return p.check(ctx, name, benchText(i, 0))
	})
}

// bareChange reads all, and writes those that differ.
func (p *policyBench) bareChange(change int) {
	p.each(func(ctx context.Context, i int) error {
		name, n := fmt.Sprintf("app-%d", i), 0
		if i >= benchPolicies-change {
			n = 1
		}
		if err := p.check(ctx, name, benchText(i, n)); err == nil {
			return nil
		}
		if err := p.bare.Sys().PutPolicyWithContext(ctx, name, benchText(i, n)); err != nil {
			return err
		}
		return p.check(ctx, name, benchText(i, n))
	})
}

func (p *policyBench) check(ctx context.Context, name, want string) error {
	got, err := p.bare.Sys().GetPolicyWithContext(ctx, name)
	if err == nil && got != want {
		err = fmt.Errorf("%s holds another text", name)
	}
	return err
}

func (p *policyBench) each(f func(context.Context, int) error) {
	p.Helper()
	ctx := p.Context()
	drivertest.Must(p, each(ctx, benchPolicies, drivers.DefaultConcurrency, func(i int) error { return f(ctx, i) }))
}

func (p *policyBench) clear() {
	p.each(func(ctx context.Context, i int) error {
		return p.bare.Sys().DeletePolicyWithContext(ctx, fmt.Sprintf("app-%d", i))
	})
}
