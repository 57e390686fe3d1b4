package local

import (
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
	"time"

	"filippo.io/age"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestStoreDeleted(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, Kind, "pw", generated(t, nil))
	before := r.Settle(schema.Create)
	recipient, err := d.Recipient()
	drivertest.Must(t, err)
	drivertest.Must(t, os.RemoveAll(d.Dir))
	after := r.Settle(schema.Create)
	if before.Outputs["value"].Fingerprint == after.Outputs["value"].Fingerprint {
		t.Fatal("the value is the same")
	}
	if again, err := d.Recipient(); err != nil || again != recipient {
		t.Fatalf("the key in memory was not put back: %s, %v", again, err)
	}
	reveal(t, r)
}

func TestKeyFile(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, Kind, "pw", generated(t, nil))
	r.Settle(schema.Create)
	key := filepath.Join(d.Dir, "key.txt")
	info, err := os.Stat(key)
	drivertest.Must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
	fresh := func() *Driver { return &Driver{Env: d.Env, Dir: d.Dir, Fingerprint: drivertest.Fingerprint} }
	print := told(r)
	drivertest.Must(t, os.Chmod(key, 0o640))
	if _, err := fresh().Recipient(); !errors.Is(err, drivers.ErrDenied) || !strings.Contains(drivers.HintOf(err), "chmod") {
		t.Fatalf("a key that others read: %v", err)
	}
	if _, err := d.Reveal(t.Context(), r.Item, "value", print); !errors.Is(err, drivers.ErrDenied) {
		t.Fatalf("a key that others read, while it is in memory: %v", err)
	}
	drivertest.Must(t, os.Remove(key))
	if _, err := fresh().Recipient(); drivers.Class(err) != drivers.ErrPermanent || !strings.Contains(drivers.HintOf(err), "backup") {
		t.Fatalf("a lost key: %v", err)
	}
	drivertest.Must(t, os.WriteFile(key, []byte("AGE-SECRET-KEY-rubbish"), 0o600))
	if _, err := fresh().Recipient(); drivers.Class(err) != drivers.ErrPermanent || strings.Contains(fmt.Sprint(err), "rubbish") {
		t.Fatalf("a damaged key: %v", err)
	}
	other, err := age.GenerateX25519Identity()
	drivertest.Must(t, err)
	drivertest.Must(t, os.WriteFile(key, []byte(other.String()), 0o600))
	if _, err := fresh().Reveal(t.Context(), r.Item, "value", print); drivers.Class(err) != drivers.ErrPermanent || drivers.HintOf(err) == "" {
		t.Fatalf("another key: %v", err)
	}
}

func TestDamagedRecords(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, Kind, "pw", generated(t, nil))
	r.Settle(schema.Create)
	other := drivertest.NewResource(t, d, Kind, "other", generated(t, nil))
	other.Settle(schema.Create)
	path := filepath.Join(d.Dir, "secrets/pw.json")
	good, err := os.ReadFile(path)
	drivertest.Must(t, err)
	theirs, err := os.ReadFile(filepath.Join(d.Dir, "secrets/other.json"))
	drivertest.Must(t, err)
	for name, bad := range map[string]string{
		"empty": "", "cut off": string(good[:len(good)/2]), "another's": string(theirs), "no object": "[]", "more": string(good) + "{}",
	} {
		drivertest.Must(t, os.WriteFile(path, []byte(bad), 0o600))
		states, err := d.Observe(t.Context(), []drivers.Item{r.Item, other.Item})
		drivertest.Must(t, err)
		if drivers.Class(states[0].Err) != drivers.ErrPermanent || drivers.HintOf(states[0].Err) == "" || states[1].Err != nil {
			t.Errorf("%s: %v and %v", name, states[0].Err, states[1].Err)
		}
		if _, err := d.Plan(t.Context(), r.Item, states[0]); err == nil {
			t.Errorf("%s: planned", name)
		}
	}
	swap := map[string]json.RawMessage{}
	drivertest.Must(t, json.Unmarshal(theirs, &swap))
	drivertest.Must(t, os.WriteFile(path, good, 0o600))
	drivertest.EditJSON(t, path, func(r map[string]any) { r["sealed"] = swap["sealed"] })
	if _, err := d.Reveal(t.Context(), r.Item, "value", told(r)); drivers.Class(err) != drivers.ErrPermanent {
		t.Fatalf("another record's value was revealed: %v", err)
	}
	drivertest.Must(t, os.WriteFile(path, good, 0o600))
	drivertest.EditJSON(t, path, func(r map[string]any) { r["fingerprint"] = "0000" })
	if _, err := d.Reveal(t.Context(), r.Item, "value", told(r)); drivers.Class(err) != drivers.ErrPermanent {
		t.Fatalf("a value that the fingerprint does not tell of was revealed: %v", err)
	}
}

func TestRevealOfWhatMoved(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, Kind, "pw", generated(t, nil))
	r.Settle(schema.Create)
	before := told(r)
	behind := drivertest.NewResource(t, &Driver{Env: d.Env, Dir: d.Dir, Fingerprint: drivertest.Fingerprint}, Kind, "pw", generated(t, map[string]any{"length": 99}))
	behind.Settle(schema.Update)
	if _, err := d.Reveal(t.Context(), r.Item, "value", before); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a value that there is no more: %v", err)
	}
	reveal(t, r)
}

// The value is nowhere but in what Reveal answers.
func TestNoPlaintextAnywhere(t *testing.T) {
	d := newDriver(t)
	recipient, err := d.Recipient()
	drivertest.Must(t, err)
	const canary = `c4n4ry "<&>" é+/ tail`
	r := drivertest.NewResource(t, d, Kind, "pw", generated(t, map[string]any{"age": encrypt(t, recipient, canary)}))
	var said []string
	note := func(v ...any) { said = append(said, fmt.Sprintf("%v %+v %#v %q", v, v, v, v)) }
	c := r.Plan()
	note(r.Observe(), c)
	_, err = r.Apply(c)
	drivertest.Must(t, err)
	note(r.Observe(), r.Plan())
	states, err := d.List(t.Context())
	drivertest.Must(t, err)
	note(states)
	js, err := json.Marshal(r.Plan())
	drivertest.Must(t, err)
	said = append(said, string(js))
	secret, err := d.Reveal(t.Context(), r.Item, "value", told(r))
	drivertest.Must(t, err)
	note(secret)
	_, err = d.Reveal(t.Context(), r.Item, "other", told(r))
	note(err)
	drivertest.Must(t, filepath.WalkDir(d.Dir, func(p string, e fs.DirEntry, err error) error {
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
	r := drivertest.NewResource(t, d, Kind, "pw", generated(t, nil))
	r.Settle(schema.Create)
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
			_, err := r.Apply(r.Plan())
			drivertest.Must(t, err)
			drivertest.Must(t, os.RemoveAll(d.Dir))
		case <-limit.C:
			t.Fatal("the store was deleted and nothing heard")
		}
	}
	cancel()
	drivertest.Must(t, <-ended)
}
