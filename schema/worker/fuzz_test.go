package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

// FuzzFrame: whatever a worker that went mad says, reading ends, takes no more
// than it was given, and an end within a frame is no good end. What is written
// is read as it was.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Add([]byte("\x0f\xff\xff\xff{"))
	f.Add([]byte("\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			before := r.Len()
			frame, err := readFrame(r)
			if err != nil {
				if errors.Is(err, io.EOF) && before > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%d bytes are no frame, and a good end", before)
				}
				break
			}
			if len(frame)+4 != before-r.Len() {
				t.Fatalf("a frame of %d bytes took %d", len(frame), before-r.Len())
			}
		}
		if !json.Valid(b) {
			return
		}
		var buf bytes.Buffer
		if err := writeFrame(&buf, request{Items: []json.RawMessage{b}}); err != nil {
			t.Fatal(err)
		}
		frame, err := readFrame(&buf)
		var back request
		if err == nil {
			err = json.Unmarshal(frame, &back)
		}
		if err != nil || len(back.Items) != 1 || buf.Len() > 0 {
			t.Fatalf("%s: %v, %d bytes are left", frame, err, buf.Len())
		}
	})
}
