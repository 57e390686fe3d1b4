package local

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func generated(t testing.TB, words map[string]any) drivers.Desired {
	all := map[string]any{"length": 24, "alphabet": "hex"}
	for k, v := range words {
		all[k] = v
	}
	return drivers.Desired{Spec: spec(t, all)}
}

func reveal(t testing.TB, w *world) string {
	t.Helper()
	v, err := w.d.(*Driver).Reveal(t.Context(), w.item, "value")
	must(t, err)
	return v.Reveal()
}

func TestSecretLives(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "password", generated(t, nil))
	s := w.settle(schema.Create)
	v := reveal(t, w)
	if fingerprint([]byte(v)) != s.Outputs["value"].Fingerprint || len(v) != 24 {
		t.Fatalf("revealed %d characters, not those that the fingerprint told of", len(v))
	}
	longer := generated(t, map[string]any{"length": 40})
	w.item.Want = &longer
	c := w.plan()
	if _, known := c.Outputs["value"]; known || string(c.Outputs["version"].Value) != "2" {
		t.Fatalf("outputs %+v", c.Outputs)
	}
	w.settle(schema.Update)
	if got := reveal(t, w); len(got) != 40 {
		t.Fatalf("%d characters", len(got))
	}
	before := reveal(t, w)
	rotated := generated(t, map[string]any{"length": 40, "rotate": "30d"})
	w.item.Want = &rotated
	w.settle(schema.Update)
	if reveal(t, w) != before {
		t.Fatal("declaring a rotation made the value anew")
	}
	w.item.Want = nil
	w.settle(schema.Delete)
	if left, _ := filepath.Glob(filepath.Join(d.Dir, "secrets/*")); len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
}

func TestAlphabets(t *testing.T) {
	for name, letters := range alphabets {
		seen := map[rune]int{}
		for range 40 {
			v, err := generate(1024, name)
			must(t, err)
			for _, c := range string(v) {
				seen[c]++
			}
		}
		mean := 40 * 1024 / len(letters)
		for _, c := range letters {
			if n := seen[c]; n < mean/2 || n > mean*2 {
				t.Errorf("%s: %q came %d times, the mean is %d", name, c, n, mean)
			}
		}
		if len(seen) != len(letters) {
			t.Errorf("%s: %d different characters, want %d", name, len(seen), len(letters))
		}
	}
	for _, n := range []int{-1, 0, 7, 1025} {
		if _, err := generate(n, "hex"); drivers.Class(err) != drivers.ErrPermanent {
			t.Errorf("length %d: %v", n, err)
		}
	}
}

func encrypt(t testing.TB, recipient, value string) string {
	t.Helper()
	r, err := age.ParseX25519Recipient(recipient)
	must(t, err)
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, r)
	must(t, err)
	_, err = w.Write([]byte(value))
	must(t, err)
	must(t, w.Close())
	must(t, a.Close())
	return out.String()
}

func TestGivenAsCiphertext(t *testing.T) {
	d := newDriver(t)
	recipient, err := d.Recipient()
	must(t, err)
	published, err := os.ReadFile(filepath.Join(d.Dir, "recipient.txt"))
	must(t, err)
	if strings.TrimSpace(string(published)) != recipient {
		t.Fatalf("published %q, want %q", published, recipient)
	}
	// the schema's defaults stand beside it and mean nothing
	w := newWorld(t, d, Kind, "given", generated(t, map[string]any{"age": encrypt(t, recipient, "pä\nss")}))
	w.settle(schema.Create)
	if got := reveal(t, w); got != "pä\nss" {
		t.Fatalf("revealed %q", got)
	}
	next := generated(t, map[string]any{"age": encrypt(t, recipient, "another")})
	w.item.Want = &next
	w.settle(schema.Update)
	if got := reveal(t, w); got != "another" {
		t.Fatalf("revealed %q", got)
	}
}

func TestCiphertextRefused(t *testing.T) {
	d := newDriver(t)
	recipient, err := d.Recipient()
	must(t, err)
	other, err := age.GenerateX25519Identity()
	must(t, err)
	for name, text := range map[string]string{
		"another key": encrypt(t, other.Recipient().String(), "x"),
		"empty":       encrypt(t, recipient, ""),
		"binary":      encrypt(t, recipient, "\xff\x00"),
		"too long":    encrypt(t, recipient, strings.Repeat("a", MaxSecret+1)),
		"cut off":     encrypt(t, recipient, strings.Repeat("a", 1000))[:700],
		"rubbish":     "-----BEGIN AGE ENCRYPTED FILE-----\nrubbish",
	} {
		w := newWorld(t, d, Kind, "given", generated(t, map[string]any{"age": text}))
		_, err := w.apply(w.plan())
		if drivers.Class(err) != drivers.ErrPermanent || drivers.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, drivers.HintOf(err))
		}
		if name == "another key" && !strings.Contains(drivers.HintOf(err), recipient) {
			t.Errorf("the hint %q does not say the recipient", drivers.HintOf(err))
		}
		if w.observe().Exists {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		w := newWorld(t, d, Kind, "pw", generated(t, map[string]any{"rotate": "1h"}))
		before := w.settle(schema.Create)
		value := reveal(t, w)
		heard := make(chan string, 100)
		ended := make(chan error, 1)
		stop := make(chan struct{})
		ctx, cancel := contextWith(t)
		go func() {
			ended <- d.watchDue(ctx, func(handles ...string) {
				for _, h := range handles {
					heard <- h
				}
			})
			close(stop)
		}()
		at := time.Now()
		if h := <-heard; h != "secret/pw" || time.Since(at) > time.Hour || time.Since(at) < 59*time.Minute {
			t.Fatalf("%s was told after %s", h, time.Since(at))
		}
		due := w.observe()
		if due.Version == before.Version {
			t.Fatal("the version does not say that it is due")
		}
		c := w.plan()
		if c.Action != schema.Update || len(c.Diff) != 1 || c.Diff[0].Path != rotationPath || string(c.Diff[0].After) != "2" {
			t.Fatalf("planned %s %+v", c.Action, c.Diff)
		}
		if _, known := c.Outputs["value"]; known {
			t.Fatal("the value that is not made yet is told")
		}
		after := w.settle(schema.Update)
		if reveal(t, w) == value || after.Outputs["value"].Fingerprint == before.Outputs["value"].Fingerprint {
			t.Fatal("the value stayed")
		}
		cancel()
		<-stop
		must(t, <-ended)
	})
}

// The rotation landed, the daemon died, and the same intent comes again.
func TestRotationIsNotRepeated(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	d := newDriver(t)
	d.Now = func() time.Time { return now }
	w := newWorld(t, d, Kind, "pw", generated(t, map[string]any{"rotate": "1h"}))
	w.settle(schema.Create)
	now = now.Add(time.Hour)
	c := w.plan()
	c.Nonce = "nonce-rotate"
	first, err := d.Apply(t.Context(), c)
	must(t, err)
	again := &Driver{Env: d.Env, Dir: d.Dir, Fingerprint: fingerprint, Now: d.Now}
	second, err := again.Apply(t.Context(), c)
	if err != nil || second.Version != first.Version {
		t.Fatalf("the second apply: version %s then %s, %v", first.Version, second.Version, err)
	}
	c.Nonce = "nonce-other"
	if _, err := again.Apply(t.Context(), c); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a change of another intent: %v", err)
	}
}
