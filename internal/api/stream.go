package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// caughtUp is the type of the event that stands between the remembered events
// and those to come.
const caughtUp = "caught-up"

// writeTimeout bounds one write to a stream: who does not read is let go.
const writeTimeout = 10 * time.Second

// events is a stream of server-sent events: first the remembered ones after
// Last-Event-ID (or ?after=), then one of type "caught-up", then those to come.
func (s *Server) events(e *Environment, w http.ResponseWriter, r *http.Request) {
	from := r.Header.Get("Last-Event-ID")
	if from == "" {
		from = r.URL.Query().Get("after")
	}
	after, err := e.after(from)
	if err != nil {
		writeError(w, err)
		return
	}
	past, live := e.Control.Events(r.Context(), after)
	out := &stream{w: w, rc: http.NewResponseController(w), start: e.start()}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	for _, ev := range past {
		out.event(ev)
	}
	out.send("event: " + caughtUp + "\ndata: {}\n\n")
	every := s.KeepAlive
	if every == 0 {
		every = 15 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for out.err == nil {
		select {
		case ev, ok := <-live:
			if !ok {
				return
			}
			out.event(ev)
		case <-tick.C:
			out.send(": alive\n\n")
		case <-r.Context().Done():
			return
		}
	}
}

// start tells this start of the environment from every other one: the numbers
// of events begin anew with it.
func (e *Environment) start() string { return strconv.FormatInt(e.Info.Started.UnixNano(), 36) }

// after is the number of the event that somebody has seen last. An id of
// another start is none of this one's: all is news then.
func (e *Environment) after(id string) (uint64, error) {
	start, number, whole := strings.Cut(id, ".")
	switch {
	case id == "":
		return 0, nil
	case !whole:
		number = id // counted by hand
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no event's id", ErrRequest, id)
	}
	if whole && start != e.start() {
		return 0, nil
	}
	return n, nil
}

// stream writes and flushes each piece; the first error stays.
type stream struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	err error

	start string // of the environment, of a stream of events
}

func (s *stream) event(e reconciler.Event) {
	b, err := json.Marshal(e)
	if err != nil {
		s.err = err
		return
	}
	s.send(fmt.Sprintf("id: %s.%d\nevent: %s\ndata: %s\n\n", s.start, e.Seq, e.Type, b))
}

func (s *stream) send(text string) { _, _ = s.Write([]byte(text)) }

// Write lets a stream be handed on as an io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has one
	n, err := s.w.Write(b)
	if err == nil {
		err = s.rc.Flush()
	}
	s.err = err
	return n, err
}

// logTrailer carries what ended a log stream early.
const logTrailer = "Aplomb-Error"

// logs streams what processes wrote, as text. An error after the first byte
// stands in the trailer.
func (e *Environment) logs(w http.ResponseWriter, r *http.Request) {
	v, err := id(r)
	if err != nil {
		writeError(w, err)
		return
	}
	q := LogsQuery{ID: v, Follow: r.URL.Query().Get("follow") == "true", JSON: r.URL.Query().Get("format") == "json"}
	var lines *int
	if q.Instance, err = number(r, "instance"); err == nil {
		lines, err = number(r, "lines")
	}
	if err != nil {
		writeError(w, err)
		return
	}
	if lines != nil {
		q.Lines = *lines
	}
	if e.Logs == nil {
		writeError(w, fmt.Errorf("logs: %w", ErrNotServed))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if q.JSON {
		w.Header().Set("Content-Type", "application/x-ndjson")
	}
	w.Header().Set("Trailer", logTrailer)
	out := &counted{w: &stream{w: w, rc: http.NewResponseController(w)}}
	err = e.Logs(r.Context(), q, out)
	switch {
	case err == nil || r.Context().Err() != nil:
	case out.n == 0:
		w.Header().Del("Trailer")
		writeError(w, err)
	default:
		b, _ := json.Marshal(Envelope(err)) // strings only: it cannot fail
		w.Header().Set(logTrailer, string(bytes.ReplaceAll(b, []byte("\n"), nil)))
	}
}

type counted struct {
	w io.Writer
	n int
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

// number is a parameter that is a number from 0; nil where it is left out.
func number(r *http.Request, name string) (*int, error) {
	t := r.URL.Query().Get(name)
	if t == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(t)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%w: %s is not a number", ErrRequest, name)
	}
	return &n, nil
}
