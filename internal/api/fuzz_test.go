package api

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

// FuzzLever: what is accepted means the same when it is written and read again,
// and names somebody.
func FuzzLever(f *testing.F) {
	for _, s := range []string{
		`{"by":"ana","why":"x","id":"local.file/a@local"}`, `{"by":"ana","also":["a.b/c","A/d"]}`, `{"by":"ana","id":"/"}`,
		`{"by":"ana","id":null}`, `[]`, `{`, `{"by":"a"}x`, `{"BY":"a"}`, "{\"by\":\"\\u0000\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeLever(bytes.NewReader(b))
		if err != nil {
			return
		}
		if l.By == "" || l.ID != nil && *l.ID == (schema.ID{}) {
			t.Fatalf("accepted %+v", l)
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeLever(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if other, _ := json.Marshal(again); !bytes.Equal(text, other) {
			t.Fatalf("%s became %s", text, other)
		}
	})
}

// FuzzEvents: whatever a daemon sends, the reader ends, and never grows past
// its limits.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("id: 1\nevent: state\ndata: {\"seq\":1}\n\nevent: caught-up\ndata: {}\n\n: alive\n\n"))
	f.Add([]byte("data: {\ndata: }\n\n"))
	f.Add([]byte("data\n\nevent:\n\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newEventReader(bytes.NewReader(b))
		for range len(b) + 2 {
			if _, _, err := r.next(); err != nil {
				return
			}
		}
		t.Fatal("it does not end")
	})
}
