package nomad

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzVersion: a version that was written is read as it was, so that what lives
// is not taken for something else than what was applied; and what was never
// written is a version all the same, or none.
func FuzzVersion(f *testing.F) {
	f.Add(uint64(17), "", "", "17")
	f.Add(uint64(17), "finished", "rest of it", "17 finished rest of it")
	f.Add(uint64(0), "batch", " ", "18446744073709551616 batch")
	f.Fuzz(func(t *testing.T, index uint64, state, rest, text string) {
		_ = parseVersion(text)
		if strings.Contains(state, " ") || state == "" && rest != "" {
			return // no such one is made
		}
		v := version{index: index, state: state, rest: rest}
		if again := parseVersion(v.String()); again != v {
			t.Fatalf("%+v, written %q, is read %+v", v, v.String(), again)
		}
	})
}

// FuzzEvents: whatever an event stream says, what is heard are addresses of
// jobs, and it ends with the stream.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("{}\n{\"Index\":8,\"Events\":[{\"Topic\":\"Job\",\"Payload\":{\"Job\":{\"ID\":\"web\",\"Namespace\":\"shop\"}}}]}\n"))
	f.Add([]byte(`{"Events":[{"Topic":"Evaluation","Payload":{"Evaluation":{"ID":"x","JobID":"a/b"}}},{"Topic":"Job","Payload":null},{"Topic":"Deployment","Payload":{}}]}`))
	f.Add([]byte(`{"Events":[{"Topic":"Allocation","Payload":{"Allocation":"x"}}]}`))
	f.Fuzz(func(t *testing.T, stream []byte) {
		h := &hearing{heard: map[string]uint64{}, wake: make(chan struct{}, 1)}
		if err := readEvents(bytes.NewReader(stream), h.event); err == nil {
			t.Error("the stream has no end")
		}
		for handle := range h.heard {
			if p, err := placeOf(handle); err != nil || p.kind != KindJob {
				t.Errorf("%q is no job's address: %v", handle, err)
			}
		}
	})
}
