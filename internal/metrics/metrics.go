// Package metrics tells Prometheus how a daemon and its environments do. What
// is told is read when it is asked for, so that nothing has to be counted
// twice; the registry is its own, never the global one.
//
// It must not know any concrete driver or source; what it tells holds no
// secret, and no names of resources: their number is not bounded.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// Environment is what is told of one. Control nil: it is not open.
type Environment struct {
	Name    string
	Control reconciler.Control
	Stats   func() reconciler.Stats
	Meters  map[string]*drivers.Meter // by target
}

// Reload is how the last reading of the configuration went.
type Reload struct {
	OK bool
	At time.Time // of the last one that came into force
}

// Collector reads what there is to tell. Its fields are set before use; Reload
// nil: there is no configuration.
type Collector struct {
	Version      string
	Environments func() []Environment
	Reload       func() Reload
}

var _ prometheus.Collector = (*Collector)(nil)

// Handler answers a scrape of c, of the Go runtime and of the process.
func Handler(c *Collector) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 30 * time.Second})
}

// desc is a metric of the daemon.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("aplomb_"+name, help, labels, nil)
}

// descs is every metric; docs/operations.md lists them.
type descs struct {
	build, reloadOK, reloadAt                                 *prometheus.Desc
	open, converged, convergedAt, suspended, refused, settled *prometheus.Desc
	resources, turns, applies, sourceOK, sourceAt             *prometheus.Desc
	targetUp, calls, failures, items, seconds, slowest, busy  *prometheus.Desc
}

func newDescs() descs {
	return descs{
		build:       desc("build_info", "The version that runs; always 1.", "version", "go"),
		reloadOK:    desc("config_reload_ok", "Whether the configuration file holds what is in force."),
		reloadAt:    desc("config_last_reload_timestamp_seconds", "When the configuration in force came into force."),
		open:        desc("environment_open", "Whether the environment is open: its data folder could be opened, and it runs.", "env"),
		converged:   desc("environment_converged", "Whether everything is converged, and nothing is refused or suspended.", "env"),
		settled:     desc("environment_settled", "Whether nothing will happen before the clock, the world or a person moves.", "env"),
		suspended:   desc("environment_suspended", "Whether a person has suspended the environment.", "env"),
		refused:     desc("environment_refused", "Whether a newer revision is refused.", "env"),
		convergedAt: desc("environment_last_converged_timestamp_seconds", "When it became converged last, since it was opened.", "env"),
		resources:   desc("resources", "Resources, by state.", "env", "state"),
		turns:       desc("turns_total", "Turns that were made.", "env"),
		applies:     desc("applies_total", "Applies that ended: ok, again (live had moved, or it was not ready) or failed.", "env", "action", "result"),
		sourceOK:    desc("source_ok", "Whether the last look at a source went well.", "env", "source"),
		sourceAt:    desc("source_last_look_timestamp_seconds", "When a source was looked at last.", "env", "source"),
		targetUp:    desc("target_up", "Whether the target answers.", "env", "target", "engine"),
		calls:       desc("driver_calls_total", "Calls to a driver that ended.", "env", "target", "op"),
		items:       desc("driver_items_total", "Resources that those calls were about.", "env", "target", "op"),
		failures:    desc("driver_failures_total", "Calls that failed, and resources that could not be observed, by class.", "env", "target", "op", "class"),
		seconds:     desc("driver_call_seconds_total", "Time that calls took, in all.", "env", "target", "op"),
		slowest:     desc("driver_call_slowest_seconds", "Time that the slowest call took.", "env", "target", "op"),
		busy:        desc("driver_calls_running", "Calls that have not ended yet.", "env", "target", "op"),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	d := newDescs()
	for _, one := range []*prometheus.Desc{
		d.build, d.reloadOK, d.reloadAt, d.open, d.converged, d.convergedAt, d.suspended, d.refused, d.settled,
		d.resources, d.turns, d.applies, d.sourceOK, d.sourceAt,
		d.targetUp, d.calls, d.failures, d.items, d.seconds, d.slowest, d.busy,
	} {
		out <- one
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	t := teller{descs: newDescs(), out: out}
	t.gauge(t.build, 1, c.Version, runtime.Version())
	if c.Reload != nil {
		r := c.Reload()
		t.gauge(t.reloadOK, truth(r.OK))
		t.moment(t.reloadAt, r.At)
	}
	for _, e := range c.Environments() {
		t.environment(e)
	}
}

// teller sends metrics.
type teller struct {
	descs
	out chan<- prometheus.Metric
}

func (t *teller) gauge(d *prometheus.Desc, v float64, labels ...string) {
	t.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (t *teller) counter(d *prometheus.Desc, v float64, labels ...string) {
	t.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// moment tells a time that has come already.
func (t *teller) moment(d *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		t.gauge(d, float64(at.UnixMilli())/1000, labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (t *teller) environment(e Environment) {
	t.gauge(t.open, truth(e.Control != nil), e.Name)
	if e.Control == nil {
		return
	}
	st := e.Control.Status()
	t.gauge(t.converged, truth(st.Converged), e.Name)
	t.gauge(t.settled, truth(st.Settled), e.Name)
	t.gauge(t.suspended, truth(st.Suspended != nil), e.Name)
	t.gauge(t.refused, truth(st.Refused != nil), e.Name)
	for _, s := range reconciler.States {
		t.gauge(t.resources, float64(st.Counts[s]), e.Name, string(s))
	}
	t.source(e.Name, "declarations", st.Source)
	if st.Templates != nil {
		t.source(e.Name, "templates", st.Templates.Source)
	}
	if st.Policies != nil {
		t.source(e.Name, "policies", st.Policies.Source)
	}
	if f := st.Forge; f != nil && f.Reviews != nil {
		t.source(e.Name, "reviews", *f.Reviews)
	}
	if f := st.Forge; f != nil && f.Proposals != nil {
		t.source(e.Name, "proposals", *f.Proposals)
	}
	for _, target := range st.Targets {
		t.gauge(t.targetUp, truth(target.OK), e.Name, target.Name, target.Engine)
	}
	if e.Stats != nil {
		t.stats(e.Name, e.Stats())
	}
	for name, m := range e.Meters {
		t.driver(e.Name, name, m.Snapshot())
	}
}

func (t *teller) source(env, name string, s reconciler.SourceStatus) {
	t.gauge(t.sourceOK, truth(s.OK), env, name)
	t.moment(t.sourceAt, s.At, env, name)
}

func (t *teller) stats(env string, s reconciler.Stats) {
	t.counter(t.turns, float64(s.Turns), env)
	t.moment(t.convergedAt, s.Converged, env)
	for a, n := range s.Applies {
		t.counter(t.applies, float64(n), env, string(a.Action), a.Result)
	}
}

// classes are short names of what drivers.Meter counts failures by.
var classes = map[string]string{
	drivers.ErrStale.Error(): "stale", drivers.ErrWaiting.Error(): "waiting", drivers.ErrRetryable.Error(): "retryable",
	drivers.ErrUnreachable.Error(): "unreachable", drivers.ErrDenied.Error(): "denied", drivers.ErrPermanent.Error(): "permanent",
}

func (t *teller) driver(env, target string, ops map[string]drivers.Op) {
	for op, o := range ops {
		t.counter(t.calls, float64(o.Calls), env, target, op)
		t.counter(t.items, float64(o.Items), env, target, op)
		t.counter(t.seconds, o.Busy.Seconds(), env, target, op)
		t.gauge(t.slowest, o.Slowest.Seconds(), env, target, op)
		t.gauge(t.busy, float64(o.Running), env, target, op)
		for class, n := range o.Failed {
			t.counter(t.failures, float64(n), env, target, op, classes[class])
		}
	}
}
