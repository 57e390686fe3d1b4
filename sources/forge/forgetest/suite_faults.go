package forgetest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

func ask(ctx context.Context, f forge.Forge) error {
	_, err := f.Proposals(ctx, Main)
	return err
}

func denied(t *testing.T, d *desk) {
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	f := d.Connect(t, d.front.URL, false)
	is(t, ask(ctx, f), forge.ErrDenied)
	is(t, f.Comment(ctx, at(id), "prod", "x"), forge.ErrDenied)
	_, err := f.Reviews(ctx, at(id))
	is(t, err, forge.ErrDenied)
	var hinted interface{ Hint() string }
	if !errors.As(err, &hinted) || hinted.Hint() == "" {
		t.Errorf("no hint: %v", err)
	}
	d.front.Next(Answer(http.StatusForbidden, `{"message":"Resource not accessible"}`))
	is(t, ask(ctx, d.f), forge.ErrDenied)
	good(t, ask(ctx, d.f)) // it was no limit
}

func gone(t *testing.T, d *desk) {
	ctx := t.Context()
	_, err := d.f.Reviews(ctx, at("4040"))
	is(t, err, forge.ErrGone)
	_, err = d.f.Comments(ctx, at("4040"), noTime)
	if err == nil { // of an issue that is not there
		t.Error("there are comments on what is not there")
	}
	for _, id := range []string{"", "x", "-1", "1/../2"} {
		_, err = d.f.Reviews(ctx, at(id))
		is(t, err, forge.ErrRefused)
		is(t, d.f.Comment(ctx, at(id), "prod", "x"), forge.ErrRefused)
	}
}

func limited(t *testing.T, d *desk) {
	ctx := t.Context()
	for name, c := range map[string]struct {
		fault Fault
		wait  time.Duration
	}{
		"429":            {TooMany(90), 90 * time.Second},
		"429, mute":      {Answer(http.StatusTooManyRequests, ""), time.Minute},
		"secondary":      {Secondary("Retry-After", "30"), 30 * time.Second},
		"secondary mute": {Secondary(), time.Minute},
		"spent":          {Spent(20 * time.Minute), 20 * time.Minute},
		"absurd":         {TooMany(1 << 30), 65 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			f := d.again(t)
			d.front.Next(c.fault)
			began := time.Now()
			err := ask(ctx, f)
			is(t, err, forge.ErrLimited)
			if got := forge.RetryAt(err).Sub(began); got < c.wait-5*time.Second || got > c.wait+30*time.Second {
				t.Errorf("ask again after %s, want about %s", got, c.wait)
			}
			reads, writes, _ := d.front.Counts()
			is(t, ask(ctx, f), forge.ErrLimited)
			is(t, f.Status(ctx, "0", forge.Status{Context: "x", State: forge.Pending}), forge.ErrLimited)
			if r, w, _ := d.front.Counts(); r != reads || w != writes {
				t.Error("it was asked again before its time")
			}
			good(t, ask(ctx, d.again(t)))
		})
	}
}

func broken(t *testing.T, d *desk) {
	ctx := t.Context()
	d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	for name, c := range map[string]struct {
		fault Fault
		class error
	}{
		"500":      {Answer(http.StatusInternalServerError, `{"message":"oops"}`), forge.ErrUnreachable},
		"503":      {Answer(http.StatusServiceUnavailable, "<html>busy</html>"), forge.ErrUnreachable},
		"400":      {Answer(http.StatusBadRequest, `{"error":"no"}`), forge.ErrRefused},
		"torn":     {Torn, forge.ErrUnreachable},
		"no JSON":  {Answer(http.StatusOK, "<html>log in</html>"), forge.ErrUnreachable},
		"too much": {Flood, forge.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			d.front.Next(c.fault)
			is(t, ask(ctx, d.again(t)), c.class)
			good(t, ask(ctx, d.f))
		})
	}
	t.Run("slow", func(t *testing.T) {
		d.front.Next(Hang)
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := ask(short, d.again(t)); !errors.Is(err, context.DeadlineExceeded) || forge.Class(err) != nil {
			t.Errorf("got %v", err)
		}
	})
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	is(t, ask(ctx, d.Connect(t, dead.URL, true)), forge.ErrUnreachable)
}

func redirected(t *testing.T, d *desk) {
	ctx := t.Context()
	var asked, told atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "" {
			told.Add(1)
		}
	}))
	defer other.Close()
	d.front.Next(Elsewhere(other.URL + "/repos"))
	is(t, ask(ctx, d.f), forge.ErrRefused)
	same(t, "requests to another host", asked.Load(), 0)
	same(t, "tokens to another host", told.Load(), 0)

	// Where a repository was renamed reads follow, and writes say so.
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	d.front.Next(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, r.URL.String(), http.StatusMovedPermanently)
	})
	good(t, ask(ctx, d.f))
	good(t, d.f.Comment(ctx, at(id), "warm", "so that it is known who we are"))
	d.front.Next(Pass, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, r.URL.String(), http.StatusMovedPermanently)
	})
	is(t, d.f.Comment(ctx, at(id), "prod", "x"), forge.ErrGone)
	same(t, "comments", len(ours(t, d, id)), 1)
}

func unchanged(t *testing.T, d *desk) {
	if !d.Conditional() {
		t.Skip("this forge's API knows no conditional requests")
	}
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	first := must[[]forge.Proposal](t)(d.f.Proposals(ctx, Main))
	_, _, before := d.front.Counts()
	second := must[[]forge.Proposal](t)(d.f.Proposals(ctx, Main))
	if _, _, after := d.front.Counts(); after == before {
		t.Error("an unchanged list was read again")
	}
	if len(first) != 1 || len(second) != 1 || first[0] != second[0] {
		t.Errorf("got %+v, then %+v", first, second)
	}
	head := d.Push(t, id)
	same(t, "head after a push", must[[]forge.Proposal](t)(d.f.Proposals(ctx, Main))[0].Head, head)
	// What we may no longer see is not shown from what we saw.
	d.front.Next(Answer(http.StatusNotFound, `{"message":"Not Found"}`))
	is(t, ask(ctx, d.f), forge.ErrGone)
}

// lostWrites: a write whose answer is lost is found by the same call again.
func lostWrites(t *testing.T, d *desk) {
	ctx := t.Context()
	id := d.Propose(t, Wish{By: Ana, Branch: "topic", Title: "A change"})
	commit := d.Commit(t)
	d.Branch(t, "aplomb/revert")
	good(t, d.f.Comment(ctx, at(id), "warm", "so that it is known who we are"))
	for name, write := range map[string]func() error{
		"comment": func() error { return d.f.Comment(ctx, at(id), "prod", "text") },
		"status": func() error {
			return d.f.Status(ctx, commit, forge.Status{Context: "aplomb/prod", State: forge.Success, Description: "converged"})
		},
		"proposal": func() error {
			_, err := d.f.Open(ctx, forge.Draft{Branch: "aplomb/revert", Base: Main, Title: "Revert"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d.front.Next(Pass, Lost) // each looks first, with one request
			is(t, write(), forge.ErrUnreachable)
			same(t, "writes of the same again", d.writes(func() { good(t, write()) }), 0)
		})
	}
	same(t, "comments", len(ours(t, d, id)), 2)
	same(t, "statuses", len(d.Statuses(t, commit, "aplomb/prod")), 1)
}
