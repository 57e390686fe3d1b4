package nomad

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestToken: it is read at each use, sent with each request, and in no error.
func TestToken(t *testing.T) {
	token, seen := "t0ken-1", ""
	d := &Driver{Env: env, Region: "eu", Token: func() (schema.Secret, error) {
		if token == "" {
			return schema.Secret{}, errors.New("no such file")
		}
		return schema.NewSecret(token), nil
	}}
	d.URL = newServer(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("X-Nomad-Token")
		if region := r.URL.Query().Get("region"); region != "eu" {
			t.Errorf("region %q", region)
		}
		if seen == "t0ken-2" {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, "[]")
	})
	items := []drivers.Item{{ID: schema.ID{Kind: KindJob, Name: "a"}, Handle: "job/default/a"}}
	states, err := d.Observe(t.Context(), items)
	drivertest.Must(t, err)
	if seen != token || states[0].Exists || states[0].Handle != "job/default/a" {
		t.Errorf("token %q, %+v", seen, states)
	}
	token = "t0ken-2"
	_, err = d.Observe(t.Context(), items)
	if seen != token || !errors.Is(err, drivers.ErrDenied) || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("token %q, %v", seen, err)
	}
	token = ""
	if _, err = d.Observe(t.Context(), items); !errors.Is(err, drivers.ErrDenied) {
		t.Errorf("without a token: %v", err)
	}
}

// TestUnlistedIsNotGone: a list leaves out what a token may not see, so what was
// applied once is asked for by name before it counts as gone.
func TestUnlistedIsNotGone(t *testing.T) {
	denied := true
	d := &Driver{Env: env, Fingerprint: drivertest.Fingerprint}
	d.URL = newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/jobs" || r.URL.Path == "/v1/vars" || r.URL.Path == "/v1/namespaces":
			_, _ = io.WriteString(w, "[]")
		case denied:
			http.Error(w, "Permission denied", http.StatusForbidden)
		default:
			http.Error(w, "not found", http.StatusNotFound)
		}
	})
	var items []drivers.Item
	for _, kind := range d.Kinds() {
		handle, err := d.Address(kind, "a", []byte("{}"))
		drivertest.Must(t, err)
		items = append(items, drivers.Item{ID: schema.ID{Kind: kind, Name: "a"}, Handle: handle, Last: &drivers.Applied{Version: "7"}})
	}
	for _, denied = range []bool{true, false} {
		states, err := d.Observe(t.Context(), items)
		drivertest.Must(t, err)
		for _, s := range states {
			if errors.Is(s.Err, drivers.ErrDenied) != denied || s.Exists {
				t.Errorf("%s, denied %t: exists %t, %v", s.Handle, denied, s.Exists, s.Err)
			}
		}
	}
}

// TestWatchWithoutVariables: what a token may not follow does not keep it from
// hearing of the rest.
func TestWatchWithoutVariables(t *testing.T) {
	events := make(chan string)
	d := &Driver{Env: env}
	d.URL = newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/vars":
			http.Error(w, "Permission denied", http.StatusForbidden)
		case "/v1/namespaces":
			if r.URL.Query().Get("index") != "" {
				<-r.Context().Done()
				return
			}
			w.Header().Set("X-Nomad-Index", "7")
			_, _ = io.WriteString(w, "[]")
		default:
			_ = http.NewResponseController(w).Flush()
			for {
				select {
				case text := <-events:
					_, _ = io.WriteString(w, text)
					_ = http.NewResponseController(w).Flush()
				case <-r.Context().Done():
					return
				}
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan []string, 100), make(chan error, 1)
	go func() { ended <- d.Watch(ctx, func(handles ...string) { heard <- handles }) }()
	if first := <-heard; first != nil {
		t.Errorf("first it tells of %q", first)
	}
	for _, text := range []string{
		"{}\n",
		`{"Index":8,"Events":[{"Topic":"Job","Payload":{"Job":{"ID":"web","Namespace":"shop"}}},{"Topic":"Allocation","Payload":{"Allocation":{"ID":"x","JobID":"web","Namespace":"shop"}}}]}` + "\n",
		`{"Index":9,"Events":[{"Topic":"Node","Payload":{"Node":{"ID":"n"}}},{"Topic":"Job","Payload":null}]}` + "\n",
	} {
		events <- text
	}
	for handles := range heard {
		if len(handles) == 1 && handles[0] == "job/shop/web" {
			break
		}
		if handles != nil {
			t.Errorf("it tells of %q", handles)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, drivers.ErrDenied) {
		t.Errorf("%v", err)
	}
}

// TestOwnRegistrationIsNoNews: a registration that was read back already, and an
// evaluation that is about to begin, are not worth a look; all else is.
func TestOwnRegistrationIsNoNews(t *testing.T) {
	d := &Driver{Env: env}
	d.jobs.put("job/default/own", &facts{index: 7})
	for _, c := range []struct {
		event string
		want  string
	}{
		{`{"Topic":"Job","Type":"JobRegistered","Payload":{"Job":{"ID":"own","JobModifyIndex":7}}}`, ""},
		{`{"Topic":"Job","Type":"JobRegistered","Payload":{"Job":{"ID":"own","JobModifyIndex":6}}}`, ""},
		{`{"Topic":"Job","Type":"JobRegistered","Payload":{"Job":{"ID":"own","JobModifyIndex":8}}}`, "job/default/own"},
		{`{"Topic":"Job","Type":"JobRegistered","Payload":{"Job":{"ID":"other","JobModifyIndex":7}}}`, "job/default/other"},
		{`{"Topic":"Job","Type":"JobDeregistered","Payload":{"Job":{"ID":"own","JobModifyIndex":7}}}`, "job/default/own"},
		{`{"Topic":"Job","Type":"JobRegistered","Payload":{"Job":{"ID":"own","JobModifyIndex":7}}},{"Topic":"Allocation","Payload":{"Allocation":{"JobID":"own"}}}`, "job/default/own"},
		{`{"Topic":"Evaluation","Payload":{"Evaluation":{"JobID":"own","Status":"pending"}}}`, ""},
		{`{"Topic":"Evaluation","Payload":{"Evaluation":{"JobID":"own","Status":"complete"}}}`, "job/default/own"},
	} {
		h := &hearing{heard: map[string]uint64{}, known: d.jobs.has, wake: make(chan struct{}, 1)}
		if err := readEvents(strings.NewReader(`{"Events":[`+c.event+`]}`), h.event); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", c.event, err)
		}
		if handles, all := h.take(); all || strings.Join(handles, " ") != c.want {
			t.Errorf("of %s it tells %q, want %q", c.event, handles, c.want)
		}
	}
}
