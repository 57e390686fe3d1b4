//go:build e2e

package nomad

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

// bench is one Nomad with everything between it and a driver that a test
// meddles with.
type bench struct {
	api    *api.Client // behind the driver's back
	proxy  *enginetest.Proxy
	url    string // through the proxy, and through what denies
	denied atomic.Bool
	doctor atomic.Pointer[func(*http.Response)] // alters answers, if set
	log    *drivertest.Log
}

// agent is what every kind of job wants of an agent's configuration: a Consul,
// which gateways are written to at once, and a Vault, which need not answer.
const agent = `
consul {
  address = %q
}
vault {
  enabled = true
  address = "http://127.0.0.1:1"
  default_identity {
    aud = ["vault.io"]
    ttl = "1h"
  }
}
`

// newBench is an empty Nomad, and leaves one behind.
func newBench(t testing.TB) *bench {
	t.Helper()
	n := enginetest.NomadWith(t, fmt.Sprintf(agent, strings.TrimPrefix(enginetest.Consul(t).Address, "http://")))
	c, err := api.NewClient(&api.Config{Address: n.Address})
	drivertest.Must(t, err)
	b := &bench{api: c, proxy: enginetest.NewProxy(t, n.Address), log: &drivertest.Log{}}
	to, err := url.Parse(b.proxy.Address)
	drivertest.Must(t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header.Set("Accept-Encoding", "identity")
	}, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		ModifyResponse: func(r *http.Response) error {
			if f := b.doctor.Load(); f != nil {
				(*f)(r)
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.denied.Load() && r.Method != http.MethodGet {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	b.url = s.URL
	b.clear(t)
	t.Cleanup(func() { b.clear(t) })
	return b
}

func (b *bench) driver() *Driver {
	return &Driver{Env: env, URL: b.url, Fingerprint: drivertest.Fingerprint, Log: b.log.Logger()}
}

// clear removes whatever lives, and waits until nothing of it runs: what still
// stops when the agent ends would outlive it.
func (b *bench) clear(t testing.TB) {
	t.Helper()
	all := &api.QueryOptions{Namespace: api.AllNamespacesNamespace}
	jobs, _, err := b.api.Jobs().List(all)
	drivertest.Must(t, err)
	for _, j := range jobs {
		_, _, err := b.api.Jobs().Deregister(j.ID, true, &api.WriteOptions{Namespace: j.Namespace})
		drivertest.Must(t, err)
	}
	eventually(t, "every task's end", func() bool {
		allocs, _, err := b.api.Allocations().List(all)
		drivertest.Must(t, err)
		return !slices.ContainsFunc(allocs, func(a *api.AllocationListStub) bool {
			return a.ClientStatus == api.AllocClientStatusRunning || a.ClientStatus == api.AllocClientStatusPending
		})
	})
	vars, _, err := b.api.Variables().List(all)
	drivertest.Must(t, err)
	for _, v := range vars {
		_, err := b.api.Variables().Delete(v.Path, &api.WriteOptions{Namespace: v.Namespace})
		drivertest.Must(t, err)
	}
	namespaces, _, err := b.api.Namespaces().List(nil)
	drivertest.Must(t, err)
	for _, n := range namespaces {
		if n.Name == api.DefaultNamespace {
			continue
		}
		eventually(t, "namespace "+n.Name+" being empty", func() bool {
			_, err := b.api.Namespaces().Delete(n.Name, nil)
			return err == nil
		})
	}
}

// eventually calls f until it says true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-limit.C:
			t.Fatalf("%s did not come about", what)
		case <-tick.C:
		}
	}
}

// engine is the suite's view of b.
func (b *bench) engine() *drivertest.Engine {
	own := b.driver()
	return &drivertest.Engine{
		New: func(*testing.T) drivers.Driver { return b.driver() },
		Create: func(t *testing.T, s drivertest.Sample, handle, spec, owner string) string {
			b.put(t, own, s.Files, handle, spec, owner)
			return handle
		},
		Edit: func(t *testing.T, handle, spec string) {
			b.put(t, own, jobFiles, handle, spec, b.owner(t, handle))
		},
		Delete: func(t *testing.T, handle string) { b.remove(t, handle) },
		Mark: func(t *testing.T, handle, owner string) {
			b.remark(t, handle, owner)
		},
		Reach: func(on bool) {
			if on {
				b.proxy.Meddle(nil)
				return
			}
			b.proxy.Meddle(func(*http.Request) enginetest.Fault { return enginetest.Refuse })
		},
		Deny: b.denied.Store,
		Log:  b.log.String,
	}
}

// put writes a thing as somebody else would.
func (b *bench) put(t testing.TB, own *Driver, files schema.Tree, handle, spec, owner string) {
	t.Helper()
	p, err := placeOf(handle)
	drivertest.Must(t, err)
	switch p.kind {
	case KindJob:
		w, err := own.desired(context.Background(), p, &drivers.Desired{Spec: json.RawMessage(spec), Files: files})
		drivertest.Must(t, err)
		marked(&w.job.Meta, owner)
		_, _, err = b.api.Jobs().Register(w.job, &api.WriteOptions{Namespace: p.namespace})
		drivertest.Must(t, err)
	case KindNamespace:
		var s namespaceSpec
		drivertest.Must(t, json.Unmarshal([]byte(spec), &s))
		n := namespaceOf(p.name, nil, s.normal())
		marked(&n.Meta, owner)
		_, err := b.api.Namespaces().Register(n, nil)
		drivertest.Must(t, err)
	case KindVariable:
		var s variableSpec
		drivertest.Must(t, json.Unmarshal([]byte(spec), &s))
		marked(&s.Items, owner)
		_, _, err := b.api.Variables().Update(&api.Variable{Namespace: p.namespace, Path: p.name, Items: s.Items}, &api.WriteOptions{Namespace: p.namespace})
		drivertest.Must(t, err)
	}
}

func marked(meta *map[string]string, owner string) {
	if *meta == nil {
		*meta = map[string]string{}
	}
	delete(*meta, Mark)
	if owner != "" {
		(*meta)[Mark] = owner
	}
}

// meta is where the mark of a thing stands, and how it is written back.
func (b *bench) meta(t testing.TB, handle string) (map[string]string, func()) {
	t.Helper()
	p, err := placeOf(handle)
	drivertest.Must(t, err)
	switch p.kind {
	case KindJob:
		j, _, err := b.api.Jobs().Info(p.name, &api.QueryOptions{Namespace: p.namespace})
		drivertest.Must(t, err)
		if j.Meta == nil {
			j.Meta = map[string]string{}
		}
		return j.Meta, func() {
			_, _, err := b.api.Jobs().Register(j, &api.WriteOptions{Namespace: p.namespace})
			drivertest.Must(t, err)
		}
	case KindNamespace:
		n, _, err := b.api.Namespaces().Info(p.name, nil)
		drivertest.Must(t, err)
		if n.Meta == nil {
			n.Meta = map[string]string{}
		}
		return n.Meta, func() {
			_, err := b.api.Namespaces().Register(n, nil)
			drivertest.Must(t, err)
		}
	default:
		v, _, err := b.api.Variables().Read(p.name, &api.QueryOptions{Namespace: p.namespace})
		drivertest.Must(t, err)
		return v.Items, func() {
			_, _, err := b.api.Variables().Update(v, &api.WriteOptions{Namespace: p.namespace})
			drivertest.Must(t, err)
		}
	}
}

func (b *bench) owner(t testing.TB, handle string) string {
	t.Helper()
	meta, _ := b.meta(t, handle)
	return meta[Mark]
}

func (b *bench) remark(t testing.TB, handle, owner string) {
	t.Helper()
	meta, write := b.meta(t, handle)
	marked(&meta, owner)
	write()
}

func (b *bench) remove(t testing.TB, handle string) {
	t.Helper()
	p, err := placeOf(handle)
	drivertest.Must(t, err)
	w := &api.WriteOptions{Namespace: p.namespace}
	switch p.kind {
	case KindJob:
		_, _, err = b.api.Jobs().Deregister(p.name, true, w)
	case KindNamespace:
		_, err = b.api.Namespaces().Delete(p.name, nil)
	default:
		_, err = b.api.Variables().Delete(p.name, w)
	}
	drivertest.Must(t, err)
}
