//go:build e2e

package nomad

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// unset are the fields of the API's job that no job of testdata/everything can
// set, each with the reason.
var unset = func() map[string]string {
	all := map[string]string{}
	for reason, fields := range map[string]string{
		"Nomad fills it in": `Job.CreateIndex Job.Dispatched Job.DispatchIdempotencyToken Job.JobModifyIndex Job.ModifyIndex Job.NomadTokenID Job.ParentID Job.Payload
			Job.Stable Job.Status Job.StatusDescription Job.SubmitTime Job.Version Job.VersionTag JobVersionTag.Description JobVersionTag.Name JobVersionTag.TaggedTime
			ScalingPolicy.CreateIndex ScalingPolicy.ID ScalingPolicy.ModifyIndex ScalingPolicy.Namespace ScalingPolicy.Target WorkloadIdentity.ServiceName Task.Kind`,
		"the address says it":                     "Job.ID Job.Namespace",
		"what is declared is to run":              "Job.Stop",
		"only HCL has it, for keys it cannot say": "CSIMountOptions.ExtraKeysHCL VolumeRequest.ExtraKeysHCL",
		"Enterprise": `Consul.Namespace Job.ConsulNamespace Job.VaultNamespace Vault.Namespace Job.Multiregion Multiregion.Regions Multiregion.Strategy MultiregionRegion.Count
			MultiregionRegion.Datacenters MultiregionRegion.Meta MultiregionRegion.Name MultiregionRegion.NodePool MultiregionStrategy.MaxParallel MultiregionStrategy.OnFailure
			Resources.NUMA NUMAResource.Affinity NUMAResource.Devices Task.ScalingPolicies Task.Schedule TaskSchedule.Cron TaskScheduleCron.End TaskScheduleCron.Start TaskScheduleCron.Timezone`,
		"newer than the server of the tests": "Resources.SecretsMB SidecarTask.VolumeMounts",
	} {
		for _, f := range strings.Fields(fields) {
			all[f] = reason
		}
	}
	return all
}()

// everything is the jobs of testdata/everything, as their declarations compile.
func everything(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	files, err := filepath.Glob("testdata/everything/*.json")
	drivertest.Must(t, err)
	tree := fstest.MapFS{}
	for _, file := range files {
		job, err := os.ReadFile(file)
		drivertest.Must(t, err)
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		tree[name+".json"] = &fstest.MapFile{Data: fmt.Appendf(nil, `{"apiVersion":"aplomb.dev/v1","kind":"nomad.job","metadata":{"name":%q},"spec":{"job":%s}}`, name, job)}
	}
	c := compile.New(compile.Options{})
	res, err := c.Compile(t.Context(), compile.Declarations{FS: tree})
	drivertest.Must(t, err)
	for _, f := range res.Findings {
		t.Errorf("%s", f)
	}
	all := map[string]json.RawMessage{}
	for _, r := range res.Resources {
		all[r.ID.Name] = r.Spec
	}
	return all
}

// TestDeclarationWithFile: from a declaration beside its job file to a job that
// runs.
func TestDeclarationWithFile(t *testing.T) {
	b := newBench(t)
	c := compile.New(compile.Options{})
	res, err := c.Compile(t.Context(), compile.Declarations{FS: fstest.MapFS{
		"shop/web.yaml":      {Data: []byte("apiVersion: aplomb.dev/v1\nkind: nomad.job\nmetadata: {name: web}\nspec:\n  hcl: ./web.nomad.hcl\n  vars: {team: shop, count: 2}\n")},
		"shop/web.nomad.hcl": {Data: []byte(strings.ReplaceAll(jobHCL, "$NAME", "web"))},
	}})
	drivertest.Must(t, err)
	if len(res.Findings) > 0 {
		t.Fatal(res.Findings)
	}
	web := res.Resources[0]
	want := drivers.Desired{Spec: web.Spec, Files: web.Files}
	drivertest.Must(t, b.driver().Check(KindJob, "web", want))
	j := &job{drivertest.NewResource(t, b.driver(), KindJob, "web", want), b}
	j.Settle(schema.Create)
	j.becomes(drivers.Healthy)
	if n := len(j.allocations()); n != 2 {
		t.Errorf("%d allocations", n)
	}
}

// TestEveryFieldSettles: of a job that has a field, whichever, nothing is left
// to plan once it is registered; and every field of the API's job is in one.
func TestEveryFieldSettles(t *testing.T) {
	b := newBench(t)
	consulFor(t)
	set := map[string]bool{}
	for name, spec := range everything(t) {
		t.Run(name, func(t *testing.T) {
			r := drivertest.NewResource(t, b.driver(), KindJob, name, drivers.Desired{Spec: spec})
			r.Settle(schema.Create)
			r.Driver = b.driver()
			if c := r.Plan(); c.Action != schema.None {
				t.Errorf("after a restart: %s, %+v", c.Action, c.Diff)
			}
		})
		var s jobSpec
		drivertest.Must(t, json.Unmarshal(spec, &s))
		job, err := decodeJob(s.Job)
		drivertest.Must(t, err)
		visit(set, reflect.ValueOf(job))
	}
	for _, field := range slices.Sorted(maps.Keys(set)) {
		if !set[field] && unset[field] == "" {
			t.Errorf("no job of testdata/everything sets %s", field)
		}
		if set[field] && unset[field] != "" {
			t.Errorf("%s is set, and listed as one that cannot be", field)
		}
	}
}

// consulFor tells Consul how the service behind the ingress speaks.
func consulFor(t *testing.T) {
	t.Helper()
	body := strings.NewReader(`{"Kind":"service-defaults","Name":"everything-web","Protocol":"http"}`)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, enginetest.Consul(t).Address+"/v1/config", body)
	drivertest.Must(t, err)
	answer, err := http.DefaultClient.Do(request)
	drivertest.Must(t, err)
	drivertest.Must(t, answer.Body.Close())
}

// visit notes every field of the structs that v may be made of, and whether it
// is set.
func visit(set map[string]bool, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			visitType(set, v.Type().Elem())
			return
		}
		visit(set, v.Elem())
	case reflect.Slice:
		visitType(set, v.Type().Elem())
		for i := range v.Len() {
			visit(set, v.Index(i))
		}
	case reflect.Map:
		visitType(set, v.Type().Elem())
		for _, k := range v.MapKeys() {
			visit(set, v.MapIndex(k))
		}
	case reflect.Struct:
		visitType(set, v.Type())
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				name := v.Type().Name() + "." + f.Name
				set[name] = set[name] || !v.Field(i).IsZero()
				visit(set, v.Field(i))
			}
		}
	}
}

func visitType(set map[string]bool, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[api.Job]().PkgPath() {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name := t.Name() + "." + f.Name
		if _, known := set[name]; !known && f.IsExported() {
			set[name] = false
			visitType(set, f.Type)
		}
	}
}
