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
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func generated(t testing.TB, words map[string]any) drivers.Desired {
	all := map[string]any{"length": 24, "alphabet": "hex"}
	for k, v := range words {
		all[k] = v
	}
	return drivers.Desired{Spec: drivertest.JSON(t, all)}
}

func reveal(t testing.TB, r *drivertest.Resource) string {
	t.Helper()
	v, err := r.Driver.(*Driver).Reveal(t.Context(), r.Item, "value", told(r))
	drivertest.Must(t, err)
	return v.Reveal()
}

// told is the fingerprint of the value as a look tells it.
func told(r *drivertest.Resource) string { return r.Observe().Outputs["value"].Fingerprint }

func TestSecretLives(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, Kind, "password", generated(t, nil))
	s := r.Settle(schema.Create)
	v := reveal(t, r)
	if drivertest.Fingerprint([]byte(v)) != s.Outputs["value"].Fingerprint || len(v) != 24 {
		t.Fatalf("revealed %d characters, not those that the fingerprint told of", len(v))
	}
	longer := generated(t, map[string]any{"length": 40})
	r.Item.Want = &longer
	c := r.Plan()
	if _, known := c.Outputs["value"]; known || string(c.Outputs["version"].Value) != "2" {
		t.Fatalf("outputs %+v", c.Outputs)
	}
	r.Settle(schema.Update)
	if got := reveal(t, r); len(got) != 40 {
		t.Fatalf("%d characters", len(got))
	}
	before := reveal(t, r)
	rotated := generated(t, map[string]any{"length": 40, "rotate": "30d"})
	r.Item.Want = &rotated
	r.Settle(schema.Update)
	if reveal(t, r) != before {
		t.Fatal("declaring a rotation made the value anew")
	}
	r.Item.Want = nil
	r.Settle(schema.Delete)
	if left, _ := filepath.Glob(filepath.Join(d.Dir, "secrets/*")); len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
}

func TestAlphabets(t *testing.T) {
	for name, letters := range alphabets {
		seen := map[rune]int{}
		for range 40 {
			v, err := generate(1024, name)
			drivertest.Must(t, err)
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
	drivertest.Must(t, err)
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, r)
	drivertest.Must(t, err)
	_, err = w.Write([]byte(value))
	drivertest.Must(t, err)
	drivertest.Must(t, w.Close())
	drivertest.Must(t, a.Close())
	return out.String()
}

func TestGivenAsCiphertext(t *testing.T) {
	d := newDriver(t)
	recipient, err := d.Recipient()
	drivertest.Must(t, err)
	published, err := os.ReadFile(filepath.Join(d.Dir, "recipient.txt"))
	drivertest.Must(t, err)
	if strings.TrimSpace(string(published)) != recipient {
		t.Fatalf("published %q, want %q", published, recipient)
	}
	// the schema's defaults stand beside it and mean nothing
	r := drivertest.NewResource(t, d, Kind, "given", generated(t, map[string]any{"age": encrypt(t, recipient, "pä\nss")}))
	r.Settle(schema.Create)
	if got := reveal(t, r); got != "pä\nss" {
		t.Fatalf("revealed %q", got)
	}
	next := generated(t, map[string]any{"age": encrypt(t, recipient, "another")})
	r.Item.Want = &next
	r.Settle(schema.Update)
	if got := reveal(t, r); got != "another" {
		t.Fatalf("revealed %q", got)
	}
}

func TestCiphertextRefused(t *testing.T) {
	d := newDriver(t)
	recipient, err := d.Recipient()
	drivertest.Must(t, err)
	other, err := age.GenerateX25519Identity()
	drivertest.Must(t, err)
	for name, text := range map[string]string{
		"another key": encrypt(t, other.Recipient().String(), "x"),
		"empty":       encrypt(t, recipient, ""),
		"binary":      encrypt(t, recipient, "\xff\x00"),
		"too long":    encrypt(t, recipient, strings.Repeat("a", MaxSecret+1)),
		"cut off":     encrypt(t, recipient, strings.Repeat("a", 1000))[:700],
		"rubbish":     "-----BEGIN AGE ENCRYPTED FILE-----\nrubbish",
	} {
		r := drivertest.NewResource(t, d, Kind, "given", generated(t, map[string]any{"age": text}))
		_, err := r.Apply(r.Plan())
		if drivers.Class(err) != drivers.ErrPermanent || drivers.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, drivers.HintOf(err))
		}
		if name == "another key" && !strings.Contains(drivers.HintOf(err), recipient) {
			t.Errorf("the hint %q does not say the recipient", drivers.HintOf(err))
		}
		if r.Observe().Exists {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		r := drivertest.NewResource(t, d, Kind, "pw", generated(t, map[string]any{"rotate": "1h"}))
		before := r.Settle(schema.Create)
		value := reveal(t, r)
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
		due := r.Observe()
		if due.Version == before.Version {
			t.Fatal("the version does not say that it is due")
		}
		c := r.Plan()
		if c.Action != schema.Update || len(c.Diff) != 1 || c.Diff[0].Path != rotationPath || string(c.Diff[0].After) != "2" {
			t.Fatalf("planned %s %+v", c.Action, c.Diff)
		}
		if _, known := c.Outputs["value"]; known {
			t.Fatal("the value that is not made yet is told")
		}
		after := r.Settle(schema.Update)
		if reveal(t, r) == value || after.Outputs["value"].Fingerprint == before.Outputs["value"].Fingerprint {
			t.Fatal("the value stayed")
		}
		cancel()
		<-stop
		drivertest.Must(t, <-ended)
	})
}

// The rotation landed, the daemon died, and the same intent comes again.
func TestRotationIsNotRepeated(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	d := newDriver(t)
	d.Now = func() time.Time { return now }
	r := drivertest.NewResource(t, d, Kind, "pw", generated(t, map[string]any{"rotate": "1h"}))
	r.Settle(schema.Create)
	now = now.Add(time.Hour)
	c := r.Plan()
	c.Nonce = "nonce-rotate"
	first, err := d.Apply(t.Context(), c)
	drivertest.Must(t, err)
	again := &Driver{Env: d.Env, Dir: d.Dir, Fingerprint: drivertest.Fingerprint, Now: d.Now}
	second, err := again.Apply(t.Context(), c)
	if err != nil || second.Version != first.Version {
		t.Fatalf("the second apply: version %s then %s, %v", first.Version, second.Version, err)
	}
	c.Nonce = "nonce-other"
	if _, err := again.Apply(t.Context(), c); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a change of another intent: %v", err)
	}
}
