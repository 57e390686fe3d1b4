//go:build e2e

package tofu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

// things is a module that makes one thing for each name, one after another.
func things(extra string) schema.Tree {
	return schema.Tree{{Path: "stacks/things/main.tf", Data: []byte(`
terraform {
  required_providers {
    aplombtest = {
      source = "` + enginetest.TestProvider + `"
    }
  }
}

variable "folder" { type = string }
variable "names" { type = list(string) }
variable "content" { type = string }
variable "delay" {
  type    = string
  default = null
}
variable "zone" {
  type    = string
  default = null
}
variable "failing" {
  type    = string
  default = ""
}
variable "secret" {
  type      = string
  default   = null
  sensitive = true
}

provider "aplombtest" { folder = var.folder }

resource "aplombtest_thing" "t" {
  for_each    = toset(var.names)
  name        = each.key
  content     = var.content
  delay       = var.delay
  zone        = var.zone
  secret      = var.secret
  fail_create = each.key == var.failing
  fail_update = each.key == var.failing
}

output "ids" { value = [for t in aplombtest_thing.t : t.id] }

check "content" {
  assert {
    condition     = var.content != "bad"
    error_message = "the content is ${var.content}"
  }
}
` + extra)}}
}

type thingsVars struct {
	Folder  string   `json:"folder"`
	Names   []string `json:"names"`
	Content string   `json:"content"`
	Delay   string   `json:"delay,omitempty"`
	Zone    string   `json:"zone,omitempty"`
	Failing string   `json:"failing,omitempty"`
}

func (w *world) things(t testing.TB, v thingsVars, extra string) drivers.Desired {
	v.Folder = w.folder
	s := map[string]any{"module": "stacks/things", "vars": v, "secretVars": map[string]string{}, "outputs": map[string]any{"ids": map[string]any{"type": "list", "sensitive": false}}}
	return drivers.Desired{Spec: drivertest.JSON(t, s), Files: things(extra)}
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("t%02d", i))
	}
	return all
}

// written are the lines of the provider's log.
func (w *world) written(t testing.TB) []string {
	data, err := os.ReadFile(filepath.Join(w.folder, "log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	drivertest.Must(t, err)
	return strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(data)), " ", ":"))
}

// made are the things that there are.
func (w *world) made(t testing.TB) []string {
	found, err := filepath.Glob(filepath.Join(w.folder, "*.json"))
	drivertest.Must(t, err)
	var all []string
	for _, f := range found {
		all = append(all, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	slices.Sort(all)
	return all
}

// inState are the names of the things in a stack's state.
func inState(t testing.TB, d *Driver, name string) []string {
	t.Helper()
	s, err := d.stackOf(prefix + name)
	drivertest.Must(t, err)
	tool, err := d.tool(t.Context())
	drivertest.Must(t, err)
	end, err := d.run(t.Context(), tool, s, nil, "state", "list")
	drivertest.Must(t, err)
	var all []string
	for l := range strings.Lines(string(end.out)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(l), `["`)
		all = append(all, strings.TrimSuffix(rest, `"]`))
	}
	slices.Sort(all)
	return all
}

func paths(diff []drivers.Delta) string {
	var all []string
	for _, d := range diff {
		all = append(all, string(d.Op)+" "+string(d.Path))
	}
	return strings.Join(all, "\n")
}

// settle converges as a reconciler does, over what passes.
func settle(t testing.TB, r *drivertest.Resource) drivers.State {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for ; time.Now().Before(deadline); <-tick.C {
		states, err := r.Driver.Observe(t.Context(), []drivers.Item{r.Item})
		drivertest.Must(t, err)
		if last = states[0].Err; last != nil {
			continue
		}
		c, err := r.Driver.Plan(t.Context(), r.Item, states[0])
		if last = err; err != nil {
			continue
		}
		if c.Action == schema.None {
			return states[0]
		}
		_, last = r.Apply(c)
	}
	t.Fatalf("it did not settle: %v", last)
	return drivers.State{}
}
