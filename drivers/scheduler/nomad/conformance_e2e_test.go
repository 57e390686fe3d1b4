//go:build e2e

package nomad

import (
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// sleeper is a job that runs until it is stopped.
func sleeper(count, more string) string {
	return without(count, `,"Update":{"HealthyDeadline":"20s","MinHealthyTime":"10ms","ProgressDeadline":"30s"}`+more)
}

// without is a sleeper without an update block.
func without(count, more string) string {
	return `{"job":{"Datacenters":["*"],"Meta":{"team":"shop"},"TaskGroups":[{"Count":` + count + `,"Name":"web","Tasks":[` +
		`{"Config":{"args":["3600"],"command":"/bin/sleep"},"Driver":"raw_exec","KillTimeout":"1s","Name":"sleep","Resources":{"CPU":10,"MemoryMB":10}}]}]` + more + `}}`
}

// jobFiles are the job files of the samples: the name of a job stands in it.
var jobFiles = func() schema.Tree {
	var t schema.Tree
	for _, name := range []string{"cut-0", "cut-1", "cut-2", "cut-3", "life-0", "life-1", "life-2", "life-3", "life-4", "life-5", "life-6", "life-7", "neighbour", "never", "one", "sample", "two"} {
		t = append(t, schema.File{Path: "jobs/" + name + ".nomad.hcl", Data: []byte(strings.ReplaceAll(jobHCL, "$NAME", name))})
	}
	return t
}()

func TestConformance(t *testing.T) {
	job := drivertest.Sample{
		Kind: KindJob, A: sleeper("1", ""), B: sleeper("2", ""), C: without("1", `,"Type":"batch"`), D: sleeper("3", ""),
		P: `{"id":"pinned-$NAME",` + sleeper("1", "")[1:], X: sleeper("1", `,"Priority":5000`),
		Unknown: "/job/Meta/team", Outputs: []string{"id", "namespace", "version"}, Marks: true, Shy: true,
	}
	deferred := job
	deferred.Unknown, deferred.Deferred = "/job/Priority", true
	file := drivertest.Sample{
		Kind: KindJob, Files: jobFiles,
		A: `{"hcl":"jobs/$NAME.nomad.hcl","vars":{"team":"shop"}}`, B: `{"hcl":"jobs/$NAME.nomad.hcl","vars":{"count":2,"team":"shop"}}`,
		X: `{"hcl":"jobs/$NAME.nomad.hcl","vars":{}}`, Unknown: "/vars/team", Outputs: job.Outputs, Marks: true, Shy: true,
	}
	drivertest.Run(t, drivertest.Harness{
		Driver: "scheduler/nomad", Env: env, Fingerprint: drivertest.Fingerprint, Patience: 3 * time.Minute,
		Open: func(t *testing.T) *drivertest.Engine { return newBench(t).engine() },
		Samples: []drivertest.Sample{job, deferred, file, {
			Kind: KindNamespace,
			A:    `{"capabilities":{"disabledNetworkModes":[],"disabledTaskDrivers":["raw_exec"],"enabledNetworkModes":[],"enabledTaskDrivers":[]},"description":"a shop","meta":{"team":"shop"}}`,
			B:    `{"description":"another","meta":{"tier":"web"}}`,
			P:    `{"description":"a shop","meta":{},"name":"pinned-$NAME"}`, X: `{"description":"` + strings.Repeat("x", 300) + `","meta":{}}`,
			Unknown: "/description", Outputs: []string{"name"}, Marks: true,
		}, {
			Kind: KindVariable,
			A:    `{"items":{"host":"db.example.org","user":"shop"}}`,
			B:    `{"items":{"host":"db.example.org","port":"5432"}}`,
			P:    `{"items":{"user":"shop"},"path":"pinned/$NAME"}`, X: `{"items":{"user":"shop"},"path":"nomad/taken"}`,
			Unknown: "/items/user", Secret: "/items/password", Outputs: []string{"namespace", "path", "version"}, Marks: true,
		}},
	})
}
