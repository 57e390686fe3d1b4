//go:build e2e

package enginetest_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

func TestEnginesAnswer(t *testing.T) {
	for name, url := range map[string]string{
		"vault":  enginetest.Vault(t).Address + "/v1/sys/health",
		"consul": enginetest.Consul(t).Address + "/v1/status/leader",
		"nomad":  enginetest.Nomad(t).Address + "/v1/agent/health",
	} {
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	if p := enginetest.Postgres(t); p.URL("postgres") == "" {
		t.Error("no URL")
	}
	enginetest.Binary(t, "tofu")
	if first, second := enginetest.Vault(t), enginetest.Vault(t); first != second {
		t.Error("a second one was started")
	}
}

func TestProxy(t *testing.T) {
	p := enginetest.NewProxy(t, enginetest.Consul(t).Address)
	get := func() (int, error) {
		res, err := http.Get(p.Address + "/v1/status/leader")
		if err != nil {
			return 0, err
		}
		defer func() { _ = res.Body.Close() }()
		return res.StatusCode, nil
	}
	for f, want := range map[enginetest.Fault]int{
		enginetest.Pass: 200, enginetest.Busy: 429, enginetest.Broken: 500, enginetest.Refuse: 0, enginetest.Lost: 0,
	} {
		p.Meddle(func(*http.Request) enginetest.Fault { return f })
		if got, err := get(); got != want || (err == nil) != (want > 0) {
			t.Errorf("fault %d: %d, %v", f, got, err)
		}
	}
	if n := p.Requests()["GET /v1/status/leader"]; n < 5 {
		t.Errorf("%d requests were counted", n)
	}
}

func TestRestart(t *testing.T) {
	for name, e := range map[string]*enginetest.Restarting{
		"/v1/sys/health": enginetest.NewVault(t), "/v1/status/leader": enginetest.NewConsul(t), "/v1/agent/health": enginetest.NewNomad(t),
	} {
		e.Kill(t)
		if _, err := http.Get(e.Address + name); err == nil {
			t.Errorf("%s is answered after its end", name)
		}
		e.Start(t)
		if res, err := http.Get(e.Address + name); err != nil {
			t.Error(err)
		} else {
			_ = res.Body.Close()
		}
	}
}
