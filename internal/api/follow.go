package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// RetryEvents is how long a Client waits before it asks again for a stream of
// events that broke off.
const RetryEvents = time.Second

// Events answers the remembered events after seq and a channel of those to
// come. A stream that breaks off is taken up again where it ended; the channel
// is closed when ctx ends, or when no daemon answers any more. See Err.
func (c *Client) Events(ctx context.Context, seq uint64) ([]reconciler.Event, <-chan reconciler.Event) {
	live := make(chan reconciler.Event, 64)
	var past []reconciler.Event
	last := strconv.FormatUint(seq, 10)
	res, err := c.subscribe(ctx, last)
	if err == nil {
		r := newEventReader(res.Body)
		r.last = last
		for {
			var e reconciler.Event
			var more bool
			if e, more, err = r.next(); err != nil || !more {
				break
			}
			past = append(past, e)
		}
		if err == nil {
			go c.follow(ctx, res.Body, r, live)
			return past, live
		}
		_ = res.Body.Close()
	}
	c.failed(err)
	close(live)
	return past, live
}

func (c *Client) subscribe(ctx context.Context, last string) (*http.Response, error) {
	return c.do(ctx, http.MethodGet, c.path+"/events", nil,
		http.Header{"Last-Event-Id": {last}}, nil)
}

// follow hands events on until ctx ends, resuming after breaks. A daemon that
// was started anew meanwhile tells all that it remembers.
func (c *Client) follow(ctx context.Context, body io.ReadCloser, r *eventReader, live chan<- reconciler.Event) {
	defer close(live)
	for {
		for {
			e, more, err := r.next()
			if err != nil {
				break
			}
			if !more {
				continue // caught up, after a resumption
			}
			select {
			case live <- e:
			case <-ctx.Done():
				_ = body.Close()
				return
			}
		}
		_ = body.Close()
		var res *http.Response
		for err := ErrNotOpen; errors.Is(err, ErrNotOpen); { // it may be about to be started again
			if !rest(ctx) {
				return
			}
			if res, err = c.subscribe(ctx, r.last); err != nil && !errors.Is(err, ErrNotOpen) {
				return
			}
		}
		last := r.last
		body, r = res.Body, newEventReader(res.Body)
		r.last = last
	}
}

// eventReader reads server-sent events.
type eventReader struct {
	lines *bufio.Scanner
	last  string // id of the last event
}

func newEventReader(r io.Reader) *eventReader {
	s := bufio.NewScanner(r)
	s.Buffer(nil, MaxEvent)
	return &eventReader{lines: s}
}

// next is the next event; more is false for the mark between the remembered
// ones and those to come.
func (r *eventReader) next() (e reconciler.Event, more bool, err error) {
	kind, id := "", r.last
	var data []byte
	for r.lines.Scan() {
		line := r.lines.Bytes()
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0 && kind == caughtUp:
			return e, false, nil
		case len(line) == 0 && data != nil:
			if err := json.Unmarshal(data, &e); err != nil {
				return e, false, fmt.Errorf("read event: %w", err)
			}
			r.last = id
			return e, true, nil
		case len(line) == 0:
			kind = ""
		case string(field) == "id":
			id = string(value)
		case string(field) == "event":
			kind = string(value)
		case string(field) == "data":
			if len(data)+len(value) > MaxEvent {
				return e, false, fmt.Errorf("read event: more than %d bytes", MaxEvent)
			}
			data = append(append(data, value...), '\n')
		}
	}
	if err := r.lines.Err(); err != nil {
		return e, false, fmt.Errorf("read events: %w", err)
	}
	return e, false, io.EOF
}
