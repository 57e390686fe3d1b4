package local

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
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

func TestStoreDeleted(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "pw", generated(t, nil))
	before := w.settle(schema.Create)
	recipient, err := d.Recipient()
	must(t, err)
	must(t, os.RemoveAll(d.Dir))
	after := w.settle(schema.Create)
	if before.Outputs["value"].Fingerprint == after.Outputs["value"].Fingerprint {
		t.Fatal("the value is the same")
	}
	if again, err := d.Recipient(); err != nil || again != recipient {
		t.Fatalf("the key in memory was not put back: %s, %v", again, err)
	}
	reveal(t, w)
}

func TestKeyFile(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "pw", generated(t, nil))
	w.settle(schema.Create)
	key := filepath.Join(d.Dir, "key.txt")
	info, err := os.Stat(key)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
	fresh := func() *Driver { return &Driver{Env: d.Env, Dir: d.Dir, Fingerprint: fingerprint} }
	must(t, os.Chmod(key, 0o640))
	if _, err := fresh().Recipient(); !errors.Is(err, drivers.ErrDenied) || !strings.Contains(drivers.HintOf(err), "chmod") {
		t.Fatalf("a key that others read: %v", err)
	}
	if _, err := d.Reveal(t.Context(), w.item, "value"); !errors.Is(err, drivers.ErrDenied) {
		t.Fatalf("a key that others read, while it is in memory: %v", err)
	}
	must(t, os.Remove(key))
	if _, err := fresh().Recipient(); drivers.Class(err) != drivers.ErrPermanent || !strings.Contains(drivers.HintOf(err), "backup") {
		t.Fatalf("a lost key: %v", err)
	}
	must(t, os.WriteFile(key, []byte("AGE-SECRET-KEY-rubbish"), 0o600))
	if _, err := fresh().Recipient(); drivers.Class(err) != drivers.ErrPermanent || strings.Contains(fmt.Sprint(err), "rubbish") {
		t.Fatalf("a damaged key: %v", err)
	}
	other, err := age.GenerateX25519Identity()
	must(t, err)
	must(t, os.WriteFile(key, []byte(other.String()), 0o600))
	if _, err := fresh().Reveal(t.Context(), w.item, "value"); drivers.Class(err) != drivers.ErrPermanent || drivers.HintOf(err) == "" {
		t.Fatalf("another key: %v", err)
	}
}

func TestDamagedRecords(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "pw", generated(t, nil))
	w.settle(schema.Create)
	other := newWorld(t, d, Kind, "other", generated(t, nil))
	other.settle(schema.Create)
	path := filepath.Join(d.Dir, "secrets/pw.json")
	good, err := os.ReadFile(path)
	must(t, err)
	theirs, err := os.ReadFile(filepath.Join(d.Dir, "secrets/other.json"))
	must(t, err)
	for name, bad := range map[string]string{
		"empty": "", "cut off": string(good[:len(good)/2]), "another's": string(theirs), "no object": "[]", "more": string(good) + "{}",
	} {
		must(t, os.WriteFile(path, []byte(bad), 0o600))
		states, err := d.Observe(t.Context(), []drivers.Item{w.item, other.item})
		must(t, err)
		if drivers.Class(states[0].Err) != drivers.ErrPermanent || drivers.HintOf(states[0].Err) == "" || states[1].Err != nil {
			t.Errorf("%s: %v and %v", name, states[0].Err, states[1].Err)
		}
		if _, err := d.Plan(t.Context(), w.item, states[0]); err == nil {
			t.Errorf("%s: planned", name)
		}
	}
	swap := map[string]json.RawMessage{}
	must(t, json.Unmarshal(theirs, &swap))
	must(t, os.WriteFile(path, good, 0o600))
	editRecord(t, path, func(r map[string]any) { r["sealed"] = swap["sealed"] })
	w.observe()
	if _, err := d.Reveal(t.Context(), w.item, "value"); drivers.Class(err) != drivers.ErrPermanent {
		t.Fatalf("another record's value was revealed: %v", err)
	}
	must(t, os.WriteFile(path, good, 0o600))
	editRecord(t, path, func(r map[string]any) { r["fingerprint"] = "0000" })
	w.observe()
	if _, err := d.Reveal(t.Context(), w.item, "value"); drivers.Class(err) != drivers.ErrPermanent {
		t.Fatalf("a value that the fingerprint does not tell of was revealed: %v", err)
	}
}

func TestRevealOfWhatMoved(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "pw", generated(t, nil))
	w.settle(schema.Create)
	behind := newWorld(t, &Driver{Env: d.Env, Dir: d.Dir, Fingerprint: fingerprint}, Kind, "pw", generated(t, map[string]any{"length": 99}))
	behind.settle(schema.Update)
	if _, err := d.Reveal(t.Context(), w.item, "value"); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a value that nobody was told of: %v", err)
	}
	w.observe()
	reveal(t, w)
}

// The value is nowhere but in what Reveal answers.
func TestNoPlaintextAnywhere(t *testing.T) {
	d := newDriver(t)
	recipient, err := d.Recipient()
	must(t, err)
	const canary = `c4n4ry "<&>" é+/ tail`
	w := newWorld(t, d, Kind, "pw", generated(t, map[string]any{"age": encrypt(t, recipient, canary)}))
	var said []string
	note := func(v ...any) { said = append(said, fmt.Sprintf("%v %+v %#v %q", v, v, v, v)) }
	c := w.plan()
	note(w.observe(), c)
	_, err = w.apply(c)
	must(t, err)
	note(w.observe(), w.plan())
	states, err := d.List(t.Context())
	must(t, err)
	note(states)
	js, err := json.Marshal(w.plan())
	must(t, err)
	said = append(said, string(js))
	secret, err := d.Reveal(t.Context(), w.item, "value")
	must(t, err)
	note(secret)
	_, err = d.Reveal(t.Context(), w.item, "other")
	note(err)
	must(t, filepath.WalkDir(d.Dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			data, err := os.ReadFile(p)
			said = append(said, string(data))
			return err
		}
		return err
	}))
	forms := []string{
		canary, "c4n4ry", base64.StdEncoding.EncodeToString([]byte(canary))[:20], base64.StdEncoding.EncodeToString([]byte("x" + canary))[2:20],
		base64.StdEncoding.EncodeToString([]byte("xx" + canary))[3:20], hex.EncodeToString([]byte(canary)), url.QueryEscape(canary), url.PathEscape(canary), fmt.Sprint([]byte(canary)),
	}
	for _, text := range said {
		for _, form := range forms {
			if strings.Contains(text, form) {
				t.Fatalf("%q is in %s", form, text)
			}
		}
	}
	if secret.Reveal() != canary {
		t.Fatal("the canary did not sing: the test proves nothing")
	}
}

func TestStoreWatch(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "pw", generated(t, nil))
	w.settle(schema.Create)
	ctx, cancel := contextWith(t)
	heard, ended := make(chan string, 1000), make(chan error, 1)
	go func() {
		ended <- d.Watch(ctx, func(handles ...string) {
			for _, h := range handles {
				heard <- h
			}
		})
	}()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for done := false; !done; {
		select {
		case h := <-heard:
			done = h == "secret/pw"
		case <-again.C: // the watch may not have begun yet
			_, err := w.apply(w.plan())
			must(t, err)
			must(t, os.RemoveAll(d.Dir))
		case <-limit.C:
			t.Fatal("the store was deleted and nothing heard")
		}
	}
	cancel()
	must(t, <-ended)
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"environment":"e","name":"x","spec":{"length":24},"version":1,"made":"2026-01-01T00:00:00Z","rotate":"1h","fingerprint":"f","sealed":"AAAA"}`))
	f.Add([]byte(`{"format":1,"name":"x","spec":null}`))
	d := newDriver(f)
	d.setup()
	must(f, os.MkdirAll(filepath.Join(d.Dir, "secrets"), 0o700))
	f.Fuzz(func(t *testing.T, data []byte) {
		must(t, os.WriteFile(d.folder.Path("x"), data, 0o600))
		item := drivers.Item{ID: schema.ID{Kind: Kind, Name: "x"}, Handle: "secret/x", Last: &drivers.Applied{}}
		want := generated(t, nil)
		item.Want = &want
		states, err := d.Observe(t.Context(), []drivers.Item{item})
		must(t, err)
		if states[0].Err != nil {
			return
		}
		if _, err := d.Plan(t.Context(), item, states[0]); err != nil && drivers.Class(err) != drivers.ErrPermanent {
			t.Fatal(err)
		}
		if _, err := d.Reveal(t.Context(), item, "value"); err == nil {
			t.Fatal("a value that was never sealed was revealed")
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add([]byte("# comment\nAGE-SECRET-KEY-1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if id, ok := parseKey(data); ok && id.Recipient().String() == "" {
			t.Fatal("an identity without a recipient")
		}
	})
}
