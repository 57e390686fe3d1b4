package worker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Parent and worker speak in frames: the length of what follows as four bytes,
// big-endian, then JSON. A worker says hello; then the parent sends requests,
// and the worker answers one frame for each item of a request, in order.

// maxFrame bounds a frame in bytes, against a worker that went mad.
const maxFrame = 256 << 20

// hello is a worker's first frame.
type hello struct {
	Program Sum `json:"program"` // of the worker's binary
}

// request asks for items to be handled.
type request struct {
	Service string            `json:"service"`
	Setup   []byte            `json:"setup,omitempty"` // what the items share
	Known   bool              `json:"known,omitempty"` // Setup is left out: it is the last one that was sent for the service
	Items   []json.RawMessage `json:"items"`
}

// writeFrame writes without HTML escaping: what is sent is canonical already.
func writeFrame(w io.Writer, v any) error {
	var buf bytes.Buffer
	buf.Write(make([]byte, 4))
	if err := encode(&buf, v); err != nil {
		return err
	}
	frame := buf.Bytes()
	if len(frame)-4 > maxFrame {
		return fmt.Errorf("a frame of %d bytes (at most %d)", len(frame)-4, maxFrame)
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	_, err := w.Write(frame)
	return err
}

func encode(buf *bytes.Buffer, v any) error {
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// readFrame answers io.EOF only between frames.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes (at most %d)", n, maxFrame)
	}
	var buf bytes.Buffer
	if got, err := io.CopyN(&buf, r, n); err != nil {
		return nil, fmt.Errorf("a frame of %d bytes ends after %d: %w", n, got, io.ErrUnexpectedEOF)
	}
	return buf.Bytes(), nil
}
