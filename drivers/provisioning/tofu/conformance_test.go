//go:build e2e

package tofu

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestConformance(t *testing.T) {
	w := newWorld(t)
	a := spec{Module: "stacks/net", Vars: vars("folder", w.folder, "name", "$NAME", "content", "one"), SecretVars: map[string]string{}, Outputs: map[string]declaredOutput{
		"id": {Type: "string"}, "content": {Type: "string"}, "token": {Type: "string", Sensitive: true},
	}}
	variant := func(more ...string) string {
		s := a
		s.Vars = vars(append([]string{"folder", w.folder, "name", "$NAME"}, more...)...)
		return string(drivertest.JSON(t, s))
	}
	drivertest.Run(t, drivertest.Harness{
		Driver: "provisioning/tofu", Env: "env-1", Fingerprint: drivertest.Fingerprint, Open: w.open, Patience: 2 * time.Minute,
		Samples: []drivertest.Sample{{
			Kind: Kind, Files: thingModule,
			A: variant("content", "one"), B: variant("content", "two"), C: variant("content", "one", "zone", "b"), D: variant("content", "edited"),
			X:       variant("content", "one", "nonsense", "x"),
			Unknown: "/vars/content", Deferred: true, Secret: "/secretVars/secret",
			Outputs: []string{"content", "id", "token"}, Secrets: []string{"token"},
			Blind: true, Opaque: true,
		}},
	})
}

// thingModule makes one thing.
var thingModule = schema.Tree{{Path: "stacks/net/main.tf", Data: []byte(`
terraform {
  required_providers {
    aplombtest = {
      source = "` + enginetest.TestProvider + `"
    }
  }
}

variable "folder" {
  type = string
}
variable "name" {
  type = string
}
variable "content" {
  type = string
}
variable "zone" {
  type    = string
  default = "a"
}
variable "secret" {
  type      = string
  default   = null
  sensitive = true
}

provider "aplombtest" {
  folder = var.folder
}

resource "aplombtest_thing" "main" {
  name    = var.name
  zone    = var.zone
  content = var.content
  secret  = var.secret
}

output "id" {
  value = aplombtest_thing.main.id
}
output "content" {
  value = aplombtest_thing.main.content
}
output "token" {
  value     = aplombtest_thing.main.token
  sensitive = true
}
`)}}

// world is the folder of the test provider's things, and the tool.
type world struct {
	folder string
	tool   *enginetest.TofuTool
}

func newWorld(t testing.TB) *world {
	return &world{folder: t.TempDir(), tool: enginetest.Tofu(t)}
}

// driver is a driver on a data folder.
func (w *world) driver(dir string) *Driver {
	return &Driver{
		Env: "env-1", Dir: dir, Binary: w.tool.Binary, ProviderConfig: &w.tool.Config, Key: []byte("0123456789abcdef0123456789abcdef"),
		Fingerprint: drivertest.Fingerprint, Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	}
}

func vars(pairs ...string) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = quoted(pairs[i+1])
	}
	return all
}

func (w *world) open(t *testing.T) *drivertest.Engine {
	w.empty(t)
	dir, log := t.TempDir(), &drivertest.Log{}
	binary := filepath.Join(t.TempDir(), "tofu")
	reach := func(reachable bool) {
		if reachable {
			drivertest.Must(t, os.Symlink(w.tool.Binary, binary))
			return
		}
		drivertest.Must(t, os.Remove(binary))
	}
	reach(true)
	return &drivertest.Engine{
		Reach: reach,
		New: func(*testing.T) drivers.Driver {
			d := w.driver(dir)
			d.Binary = binary
			d.Log = log.Logger()
			return d
		},
		Edit: func(t *testing.T, handle, text string) {
			var s spec
			drivertest.Must(t, json.Unmarshal([]byte(text), &s))
			w.edit(t, strings.TrimPrefix(handle, prefix), func(r map[string]any) {
				r["content"], r["secret"] = s.Vars["content"], nil
			})
		},
		Delete: func(t *testing.T, handle string) {
			name := strings.TrimPrefix(handle, prefix)
			drivertest.Must(t, os.RemoveAll(filepath.Join(dir, "env-1", name)))
			drivertest.Must(t, os.Remove(w.file(name)))
		},
		Log:     log.String,
		Private: []string{dir},
	}
}

func (w *world) file(name string) string { return filepath.Join(w.folder, name+".json") }

func (w *world) edit(t testing.TB, name string, change func(map[string]any)) {
	drivertest.EditJSON(t, w.file(name), change)
}

func (w *world) empty(t testing.TB) {
	entries, err := os.ReadDir(w.folder)
	drivertest.Must(t, err)
	for _, e := range entries {
		drivertest.Must(t, os.Remove(filepath.Join(w.folder, e.Name())))
	}
}
