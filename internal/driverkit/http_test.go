package driverkit

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
)

func TestFailHTTP(t *testing.T) {
	cause := errors.New("permission denied")
	for status, class := range map[int]error{
		0: drivers.ErrUnreachable, 400: drivers.ErrPermanent, 401: drivers.ErrDenied, 403: drivers.ErrDenied, 404: drivers.ErrPermanent,
		409: drivers.ErrStale, 412: drivers.ErrStale, 429: drivers.ErrRetryable, 500: drivers.ErrRetryable, 502: drivers.ErrUnreachable, 503: drivers.ErrUnreachable, 307: drivers.ErrRetryable,
	} {
		if err := FailHTTP("write", "x", status, cause); drivers.Class(err) != class || !errors.Is(err, cause) {
			t.Errorf("%d: %v is of class %v, want %v", status, err, drivers.Class(err), class)
		} else if drivers.Answered(err) != (status != 0) {
			t.Errorf("%d: answered is %t", status, drivers.Answered(err))
		}
	}
	if FailHTTP("write", "x", 0, nil) != nil {
		t.Error("no error became one")
	}
	known := Stale("write", "x")
	if err := FailHTTP("write", "x", 500, known); !errors.Is(err, drivers.ErrStale) {
		t.Errorf("a known error became %v", err)
	}
	if err := FailHTTP("write", "x", 0, context.Canceled); errors.Is(err, drivers.ErrUnreachable) {
		t.Error("a call that was given up says that the target is out of reach")
	}
}

func TestTransportIsBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 100))
	}))
	defer s.Close()
	c := &http.Client{Transport: Transport(1, nil), CheckRedirect: NoRedirects}
	res, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.(*bounding).left = 60
	b, err := io.ReadAll(res.Body)
	if !errors.Is(err, errTooLarge) || len(b) != 60 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_ = res.Body.Close()
	res, err = c.Get(s.URL + "/away")
	if err != nil || res.StatusCode != http.StatusFound {
		t.Fatalf("a redirect was followed: %v", err)
	}
	_ = res.Body.Close()
}
