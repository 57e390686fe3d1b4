//go:build e2e

package nomad

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// holes are fields whose change neither Nomad's plan nor the driver sees, each
// with the reason.
var holes = map[string]string{
	"service job.TaskGroups.0.Count":                                                          "the group is autoscaled",
	"service job.TaskGroups.0.PreventRescheduleOnLost":                                        "Nomad 1.10 drops it: Disconnect says it",
	"parameterized job.TaskGroups.0.PreventRescheduleOnLost":                                  "Nomad 1.10 drops it: Disconnect says it",
	"service job.TaskGroups.1.StopAfterClientDisconnect":                                      "Nomad 1.10 drops it: Disconnect says it",
	"service job.TaskGroups.2.MaxClientDisconnect":                                            "Nomad 1.10 drops it: Disconnect says it",
	"service job.TaskGroups.0.Services.0.Checks.0.CheckRestart.IgnoreWarnings":                "the service's own check_restart says it too",
	"service job.TaskGroups.0.Services.0.Identity.Name":                                       "Nomad names it itself",
	"service job.TaskGroups.0.Tasks.0.Resources.DiskMB":                                       "Nomad drops it: the group's disk says it",
	"service job.TaskGroups.0.Tasks.0.Vault.Policies.0":                                       "Nomad 1.10 drops it: the role says it",
	"service without job.TaskGroups.0.Tasks.0.Vault.Policies":                                 "Nomad 1.10 drops it: the role says it",
	"service job.Update.Stagger":                                                              "Nomad reads that of the groups only, which have one of their own",
	"system job.TaskGroups.0.Tasks.0.LogConfig.Enabled":                                       "Nomad drops it: Disabled says it",
	"system job.TaskGroups.0.Tasks.0.Resources.Networks.0.Device":                             "Nomad fills it in",
	"mesh job.TaskGroups.0.Services.0.Checks.1.Advertise":                                     "Nomad drops it",
	"mesh job.TaskGroups.3.Services.0.Connect.Gateway.Proxy.EnvoyGatewayBindAddresses.a.Name": "Nomad names it by its key",
}

// TestEveryFieldIsCompared alters the fields of registered jobs one by one: a
// plan sees it, or Nomad refuses it, or the field is listed as a hole.
func TestEveryFieldIsCompared(t *testing.T) {
	b := newBench(t)
	consulFor(t)
	for name, spec := range everything(t) {
		r := drivertest.NewResource(t, b.driver(), KindJob, name, drivers.Desired{Spec: spec})
		r.Settle(schema.Create)
		live := r.Observe()
		tree, err := driverkit.Tree(spec)
		drivertest.Must(t, err)
		altered := 0
		try := func(at string) {
			text, err := driverkit.Text(tree)
			drivertest.Must(t, err)
			it := r.Item
			it.Want = &drivers.Desired{Spec: text}
			c, err := r.Driver.Plan(t.Context(), it, live)
			altered++
			switch {
			case err != nil && drivers.Class(err) != drivers.ErrPermanent && !strings.HasSuffix(at, ".Region"): // another region is out of reach
				t.Errorf("%s: %v", at, err)
			case err == nil && c.Action == schema.None && holes[at] == "":
				t.Errorf("%s: a change is not seen", at)
			case (err != nil || c.Action != schema.None) && holes[at] != "":
				t.Errorf("%s is listed as a hole, and is none: %v %+v", at, err, c.Diff)
			}
		}
		eachLeaf(tree, nil, func(path []string, set func(any), v any) {
			set(other(v))
			try(name + " " + strings.Join(path, "."))
			set(v)
		})
		eachBlock(tree, nil, func(path []string, object map[string]any, key string) {
			block := object[key]
			if text := string(drivertest.JSON(t, block)); text == "[]" || text == `["*"]` {
				return // as if it were left out
			}
			delete(object, key)
			try(name + " without " + strings.Join(path, "."))
			object[key] = block
		})
		if altered < 5 {
			t.Errorf("%s: only %d fields were altered", name, altered)
		}
	}
}

// eachLeaf calls f for every scalar of a tree, in order.
func eachLeaf(v any, path []string, f func(path []string, set func(any), v any)) {
	switch x := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(x)) {
			below := append(slices.Clone(path), k)
			if scalarOf(x[k]) {
				f(below, func(v any) { x[k] = v }, x[k])
				continue
			}
			eachLeaf(x[k], below, f)
		}
	case []any:
		for i := range x {
			below := append(slices.Clone(path), fmt.Sprint(i))
			if scalarOf(x[i]) {
				f(below, func(v any) { x[i] = v }, x[i])
				continue
			}
			eachLeaf(x[i], below, f)
		}
	}
}

// eachBlock calls f for every object and list in a tree, in order.
func eachBlock(v any, path []string, f func(path []string, object map[string]any, key string)) {
	switch x := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(x)) {
			below := append(slices.Clone(path), k)
			if !scalarOf(x[k]) {
				f(below, x, k)
				eachBlock(x[k], below, f)
			}
		}
	case []any:
		for i := range x {
			eachBlock(x[i], append(slices.Clone(path), fmt.Sprint(i)), f)
		}
	}
}

func scalarOf(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// other is another value of the same kind.
func other(v any) any {
	switch x := v.(type) {
	case bool:
		return !x
	case json.Number:
		n, _ := x.Int64() // the samples hold integers
		return json.Number(fmt.Sprint(n + 1))
	case string:
		for from, to := range map[string]string{"s": "m", "m": "h", "h": "m"} {
			if number, is := strings.CutSuffix(x, from); is && strings.Trim(number, "0123456789") == "" && number != "" {
				return number + to
			}
		}
		if n, is := swapped[x]; is {
			return n
		}
		return x + "x"
	}
	return v
}

// swapped are other words for fields that take only some.
var swapped = map[string]string{
	"task_states": "checks", "checks": "task_states", "fibonacci": "exponential", "constant": "exponential", "delay": "fail", "fail": "delay",
	"best_score": "keep_original", "host": "driver", "auto": "host", "require_healthy": "ignore_warnings", "passing": "critical", "http": "tcp", "tcp": "http",
	"SIGHUP": "SIGUSR1", "SIGQUIT": "SIGUSR1", "SIGTERM": "SIGUSR1", "signal": "restart", "restart": "noop", "script": "restart", "prestart": "poststart", "poststop": "poststart",
	"file": "dir", "required": "optional", "host-to-task": "private", "single-node-reader-only": "single-node-writer", "single-node-writer": "single-node-reader-only",
	"file-system": "block-device", "=": "!=", "!=": "=", ">=": ">", "is_set": "is_not_set", "600": "644", "0600": "0644", "local": "remote", "STRICT_DNS": "LOGICAL_DNS",
	"TLSv1_2": "TLSv1_1", "TLSv1_3": "TLSv1_2", "node": "controller", "https": "http", "Europe/Berlin": "UTC", "docker": "exec", "exec": "docker", "raw_exec": "exec",
}
