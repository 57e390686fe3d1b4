package drivertest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
)

// Must fails the test at once if there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Fingerprint is a drivers.Fingerprinter with a key that tests share.
func Fingerprint(plaintext []byte) string {
	m := hmac.New(sha256.New, []byte("a key of the tests"))
	_, _ = m.Write(plaintext) // a hash takes everything
	return hex.EncodeToString(m.Sum(nil))
}

// JSON is a spec, or anything else, as text.
func JSON(t testing.TB, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	Must(t, err)
	return b
}

// EditJSON changes the object in a file as a careless hand does: in place, and
// not durably.
func EditJSON(t testing.TB, path string, change func(map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(path)
	Must(t, err)
	var object map[string]any
	Must(t, json.Unmarshal(data, &object))
	change(object)
	Must(t, os.WriteFile(path, JSON(t, object), 0o600))
}

// Nowhere fails the test for each file below a folder that holds a plaintext,
// or an encoding of it. It answers how many files there are: the test knows how
// many make its silence a proof.
func Nowhere(t testing.TB, dir, plaintext string) int {
	t.Helper()
	forms, all := encodings(plaintext), files(t, dir)
	for path, data := range all {
		for form, needle := range forms {
			if bytes.Contains(data, []byte(needle)) {
				t.Errorf("%s holds the plaintext, as %s", path, form)
			}
		}
	}
	return len(all)
}

// Log keeps what is logged, at every level. The zero value is empty and ready;
// it is safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Logger logs to l.
func (l *Log) Logger() logrus.FieldLogger {
	to := logrus.New()
	to.SetOutput(l)
	to.SetLevel(logrus.TraceLevel)
	return to
}

// Write takes what was logged; it never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is what was logged so far. It is Engine.Log.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
