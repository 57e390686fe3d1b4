package metrics

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// still is an environment of which only the status is asked.
type still struct {
	reconciler.Control
	status reconciler.Status
}

func (s still) Status() reconciler.Status { return s.status }

// TestScrape: what is told is what is so.
func TestScrape(t *testing.T) {
	engine := &memory.Engine{}
	meter := &drivers.Meter{Driver: &memory.Driver{Engine: engine, Env: "7f3a"}}
	engine.SetUnreachable(true)
	if _, err := meter.Observe(context.Background(), nil); !errors.Is(err, drivers.ErrUnreachable) {
		t.Fatal(err)
	}
	prod := Environment{
		Name: "prod",
		Control: still{status: reconciler.Status{
			Converged: true, Settled: true, Counts: map[reconciler.State]int{reconciler.Converged: 3, reconciler.Held: 1},
			Source:   reconciler.SourceStatus{OK: true, At: time.Unix(1700000001, 500e6)},
			Policies: &reconciler.FollowedStatus{},
			Forge:    &reconciler.ForgeStatus{Reviews: &reconciler.SourceStatus{}, Proposals: &reconciler.SourceStatus{OK: true}},
			Targets:  []reconciler.TargetStatus{{Name: "eu", Engine: "nomad", OK: false}},
		}},
		Stats: func() reconciler.Stats {
			return reconciler.Stats{Turns: 7, Applies: map[reconciler.Apply]uint64{{Action: schema.Create, Result: "ok"}: 4}, Converged: time.Unix(1700000002, 0)}
		},
		Meters: map[string]*drivers.Meter{"eu": meter},
	}
	c := &Collector{
		Version:      "1.2.3",
		Reload:       func() Reload { return Reload{OK: false, At: time.Unix(1700000000, 0)} },
		Environments: func() []Environment { return []Environment{{Name: "broken"}, prod} },
	}
	w := httptest.NewRecorder()
	Handler(c).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, err, string(body))
	}
	for _, want := range []string{
		`aplomb_build_info{go="go`, `aplomb_config_reload_ok 0`, `aplomb_config_last_reload_timestamp_seconds 1.7e+09`,
		`aplomb_environment_open{env="broken"} 0`, `aplomb_environment_open{env="prod"} 1`, `aplomb_environment_converged{env="prod"} 1`,
		`aplomb_environment_last_converged_timestamp_seconds{env="prod"} 1.700000002e+09`,
		`aplomb_resources{env="prod",state="converged"} 3`, `aplomb_resources{env="prod",state="held"} 1`, `aplomb_resources{env="prod",state="degraded"} 0`,
		`aplomb_turns_total{env="prod"} 7`, `aplomb_applies_total{action="create",env="prod",result="ok"} 4`,
		`aplomb_source_ok{env="prod",source="declarations"} 1`, `aplomb_source_last_look_timestamp_seconds{env="prod",source="declarations"} 1.7000000015e+09`,
		`aplomb_source_ok{env="prod",source="policies"} 0`, `aplomb_source_ok{env="prod",source="reviews"} 0`, `aplomb_source_ok{env="prod",source="proposals"} 1`, `aplomb_target_up{engine="nomad",env="prod",target="eu"} 0`,
		`aplomb_driver_calls_total{env="prod",op="observe",target="eu"} 1`, `aplomb_driver_failures_total{class="unreachable",env="prod",op="observe",target="eu"} 1`,
		`go_goroutines `,
	} {
		if !strings.Contains(string(body), "\n"+want) {
			t.Errorf("%s is not told", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", body)
	}
}

// TestClasses: every class of drivers has a short name.
func TestClasses(t *testing.T) {
	for _, c := range []error{drivers.ErrStale, drivers.ErrWaiting, drivers.ErrRetryable, drivers.ErrUnreachable, drivers.ErrDenied, drivers.ErrPermanent} {
		if classes[drivers.Class(c).Error()] == "" {
			t.Errorf("%v has no short name", c)
		}
	}
}

// TestDocumented: docs/operations.md lists every metric, and none that there is
// not.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(aplomb_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		listed[m[1]] = true
	}
	all := make(chan *prometheus.Desc, 100)
	(&Collector{}).Describe(all)
	close(all)
	for d := range all {
		name := regexp.MustCompile(`fqName: "([a-z_]+)"`).FindStringSubmatch(d.String())[1]
		if !listed[name] {
			t.Errorf("%s is not listed", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is listed, and there is none", name)
	}
}
