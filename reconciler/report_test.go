package reconciler

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// page keeps the reports that were made; it refuses as many as it is told to.
type page struct {
	reports chan sources.Report
	refuse  chan error
}

func newPage() *page {
	return &page{reports: make(chan sources.Report, 100), refuse: make(chan error, 10)}
}

func (p *page) Report(_ context.Context, r sources.Report) error {
	select {
	case err := <-p.refuse:
		return err
	default:
		p.reports <- r
		return nil
	}
}

// next waits for a report that holds text.
func (p *page) next(t *testing.T, text string) sources.Report {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case r := <-p.reports:
			if strings.Contains(string(r.Files["README.md"]), text) {
				return r
			}
		case <-deadline:
			t.Fatalf("no report holds %q", text)
		}
	}
}

func reporting(p *page) func(*Config) {
	return func(c *Config) { c.Reporter, c.ReportEvery = p, time.Millisecond }
}

func TestReport(t *testing.T) {
	p := newPage()
	h := newHouse(t, reporting(p), decl("a", `{"value":"x|<y>"}`), decl("s", `{"size":16}`, kind(memory.KindSecret)), decl("b", `{"password":"@{memory.secret/s.value}"}`))
	rev := h.converged(h.tip()).Revision
	r := p.next(t, "| memory.thing/b | converged |")
	if !strings.HasPrefix(r.Title, "house: converged at "+rev.Short()) || r.Environment != "house" || len(r.Files) != 2 {
		t.Errorf("the title is %q, of %s", r.Title, r.Environment)
	}
	secret, _ := h.eng.Object("memory.secret/s")
	for name, raw := range r.Files {
		if secret.Value == "" || strings.Contains(string(raw), secret.Value) || schema.HasToken(string(raw)) {
			t.Errorf("%s tells a secret or its token:\n%s", name, raw)
		}
	}
	var machine struct {
		Environment     string
		Converged       bool
		At              *time.Time
		Resources       []ResourceStatus
		SignedInventory SignedInventory
	}
	h.must(json.Unmarshal(r.Files["status.json"], &machine))
	if !machine.Converged || machine.Environment != "house" || len(machine.Resources) != 3 || machine.At != nil && !machine.At.IsZero() {
		t.Errorf("status.json: %s", r.Files["status.json"])
	}
	signature(t, h, machine.SignedInventory)
}

// signature: the inventory is signed by the environment's key, and holds every
// owned thing.
func signature(t *testing.T, h *house, s SignedInventory) {
	t.Helper()
	public, err := base64.StdEncoding.DecodeString(s.PublicKey)
	h.must(err)
	sig, err := base64.StdEncoding.DecodeString(s.Signature)
	h.must(err)
	var compact strings.Builder // the file is indented; what was signed is not
	enc := json.NewEncoder(&compact)
	h.must(enc.Encode(s.Inventory))
	raw := []byte(strings.TrimSpace(compact.String()))
	if !ed25519.Verify(public, raw, sig) {
		t.Errorf("the signature does not hold for %s", raw)
	}
	if own, _ := SigningKey(h.cfg.Key).Public().(ed25519.PublicKey); !own.Equal(ed25519.PublicKey(public)) {
		t.Error("it is signed by another key")
	}
	if other, _ := SigningKey([]byte("another")).Public().(ed25519.PublicKey); other.Equal(ed25519.PublicKey(public)) {
		t.Error("every key signs alike")
	}
	if ed25519.Verify(public, append(raw, ' '), sig) {
		t.Error("the signature holds for anything")
	}
	var inv Inventory
	h.must(json.Unmarshal(raw, &inv))
	if inv.Environment != deskEnv || len(inv.Owned) != 3 || inv.Owned[0].Handle != "memory.secret/s" || inv.Owned[0].Target != "mem" {
		t.Errorf("the inventory is %+v", inv)
	}
}

// TestReportAgain: a refused report is made again, says so meanwhile, and the
// turn stands.
func TestReportAgain(t *testing.T) {
	p := newPage()
	for range 3 {
		p.refuse <- errors.New("raced")
	}
	h := newHouse(t, reporting(p), decl("a", `{}`))
	h.converged(h.tip())
	p.next(t, "| memory.thing/a | converged |")
	h.until("the report is written", func(s Status) bool { return s.Report.OK && s.Report.Error == "" })
	if h.live() != "a" {
		t.Errorf("there live %s", h.live())
	}
	past, _ := h.Events(t.Context(), 0)
	told := 0
	for _, e := range past {
		if e.Type == "report" && e.Message == "raced" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("it was told %d times", told)
	}
}

func TestReportRefused(t *testing.T) {
	p := newPage()
	h := newHouse(t, reporting(p), decl("a", `{}`))
	h.converged(h.tip())
	bad := h.commit(decl("b", `{}`, needs("none")))
	page := string(p.next(t, "is not in force").Files["README.md"])
	for _, want := range []string{"`" + bad.Short() + "` is not in force", "memory.thing/b: needs memory.thing/none, which is not declared", "| memory.thing/a | converged |"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
}

// TestReportsOnlyNews: after resyncs that find nothing new a report has the
// very bytes of the one before, so that writing it back writes nothing.
func TestReportsOnlyNews(t *testing.T) {
	p := newPage()
	h := newHouse(t, func(c *Config) { reporting(p)(c); c.Resync = 20 * time.Millisecond }, decl("a", `{}`))
	h.converged(h.tip())
	first := p.next(t, "| memory.thing/a | converged |")
	looks := h.eng.Steps()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for h.eng.Steps() < looks+5 {
		<-tick.C
	}
	h.until("a moment without a look", func(s Status) bool { return s.Converged })
	h.stop()
	close(p.reports)
	for r := range p.reports {
		for name, raw := range r.Files {
			if string(raw) != string(first.Files[name]) {
				t.Errorf("%s became\n%s\nand was\n%s", name, raw, first.Files[name])
			}
		}
	}
}

func TestReportCells(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a|b": `a\|b`, "<script>": "&lt;script>", "two\nlines\r\n": "two lines  ", "[x](http://e)": `\[x\](http://e)`, `\[x](e)`: `\\\[x\](e)`, "@org *b*": `&#64;org \*b\*`, "`code`": "'code'",
		strings.Repeat("ü", 300): strings.Repeat("ü", 200) + "…",
	} {
		if got := cell(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
