//go:build e2e

package tofu

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// Of 20 stacks of 10 resources, against the same runs of the tool by hand, with
// the same encryption, as many at once.
const (
	benchStacks = 20
	benchThings = 10
	benchAtOnce = 4
)

// BenchmarkStacks measures both, alternately, and tells the medians.
func BenchmarkStacks(b *testing.B) {
	for b.Loop() {
		var create, bareCreate, nothing, bareNothing []time.Duration
		for range 5 {
			ours, bare := newBenched(b), newBare(b)
			create, bareCreate = append(create, took(b, ours.create)), append(bareCreate, took(b, bare.create))
			nothing, bareNothing = append(nothing, took(b, ours.nothing)), append(bareNothing, took(b, bare.nothing))
		}
		b.ReportMetric(median(create).Seconds(), "create-s")
		b.ReportMetric(median(create).Seconds()/median(bareCreate).Seconds(), "create-of-bare")
		b.ReportMetric(median(nothing).Seconds(), "nothing-s")
		b.ReportMetric(median(nothing).Seconds()/median(bareNothing).Seconds(), "nothing-of-bare")
	}
}

func took(b *testing.B, all func(*testing.B, int)) time.Duration {
	b.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	next := make(chan int)
	for range benchAtOnce {
		wg.Go(func() {
			for i := range next {
				all(b, i)
			}
		})
	}
	for i := range benchStacks {
		next <- i
	}
	close(next)
	wg.Wait()
	return time.Since(began)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// benched is the driver.
type benched struct{ stacks []*drivertest.Resource }

func newBenched(b *testing.B) *benched {
	w := newWorld(b)
	d := w.driver(b.TempDir())
	all := &benched{}
	for i := range benchStacks {
		name := fmt.Sprintf("stack-%02d", i)
		all.stacks = append(all.stacks, drivertest.NewResource(b, d, Kind, name, w.things(b, thingsVars{Names: benchNames(i), Content: "one"}, "")))
	}
	return all
}

func benchNames(stack int) []string {
	var all []string
	for i := range benchThings {
		all = append(all, fmt.Sprintf("s%02d-%02d", stack, i))
	}
	return all
}

func (x *benched) create(b *testing.B, i int) {
	r := x.stacks[i]
	if _, err := r.Apply(r.Plan()); err != nil {
		b.Error(err)
	}
}

func (x *benched) nothing(b *testing.B, i int) {
	if c := x.stacks[i].Plan(); c.Action != schema.None {
		b.Error(c.Action)
	}
}

// bare is the tool by hand.
type bare struct {
	d    *Driver
	dirs []string
}

func newBare(b *testing.B) *bare {
	w := newWorld(b)
	x := &bare{d: w.driver(b.TempDir())}
	for i := range benchStacks {
		want := w.things(b, thingsVars{Names: benchNames(i), Content: "one"}, "")
		dir := b.TempDir()
		drivertest.Must(b, os.WriteFile(filepath.Join(dir, "main.tf"), want.Files[0].Data, 0o600))
		var s spec
		drivertest.Must(b, json.Unmarshal(want.Spec, &s))
		drivertest.Must(b, os.WriteFile(filepath.Join(dir, "terraform.tfvars.json"), drivertest.JSON(b, s.Vars), 0o600))
		x.dirs = append(x.dirs, dir)
	}
	return x
}

// tofu is one run, its output kept as a caller would.
func (x *bare) tofu(b *testing.B, i int, args ...string) []byte {
	s := &stack{name: fmt.Sprint(i), dir: x.dirs[i]}
	cmd := exec.Command(x.d.Binary, args...)
	cmd.Dir = x.dirs[i]
	cmd.Env = []string{"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_CONFIG_FILE=" + *x.d.ProviderConfig, "HOME=" + x.dirs[i], "PATH=" + os.Getenv("PATH"),
		"TF_ENCRYPTION=" + fmt.Sprintf(encryption, x.d.passphrase(s))}
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Errorf("tofu %v: %v %s", args, err, out)
	}
	return out
}

func (x *bare) create(b *testing.B, i int) {
	x.tofu(b, i, "init", "-input=false")
	x.plan(b, i)
	x.tofu(b, i, "apply", "-input=false", "plan")
}

func (x *bare) plan(b *testing.B, i int) *planJSON {
	x.tofu(b, i, "plan", "-input=false", "-out=plan")
	p, err := parsePlan(x.tofu(b, i, "show", "-json", "plan"))
	if err != nil {
		b.Error(err)
	}
	return p
}

func (x *bare) nothing(b *testing.B, i int) { x.plan(b, i) }
