package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdReceive is a server that adds the bodies that it takes to a file, a line
// each; what is sent while the file down exists it does not take. Its URL is put
// into a variable.
func cmdReceive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: receive VARIABLE FILE")
	}
	down, to := ts.MkAbs("down"), ts.MkAbs(args[1])
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if _, serr := os.Stat(down); serr == nil || err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		f, err := os.OpenFile(to, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.Write(append(append(body, " "+r.Header.Get("X-Aplomb-Signature-256")...), '\n'))
			_ = f.Close()
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}
