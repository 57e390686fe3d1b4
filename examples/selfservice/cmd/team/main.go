// Team is the program that the teams of the example run: it stands for any
// program that is told in its environment where to listen, what to use and with
// which secrets, and it must not know who tells it.
//
//	team web        serves HTTP at HOST:PORT; SESSION_KEY signs, UPSTREAM is called
//	team database   stands for a database server: accepts at PGHOST:PGPORT
//	team job NAME   does its work once: looks whether its database is there
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: team web | team database | team job NAME")

// run does what args say until ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "web":
		return web(ctx, getenv, out)
	case len(args) == 1 && args[0] == "database":
		return database(ctx, getenv, out)
	case len(args) == 2 && args[0] == "job":
		if err := reach(ctx, getenv); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "%s: done\n", args[1])
		return err
	default:
		return errUsage
	}
}

// reach looks whether the database answers, where there is one.
func reach(ctx context.Context, getenv func(string) string) error {
	host, port := getenv("PGHOST"), getenv("PGPORT")
	if host == "" {
		return nil
	}
	if getenv("PGUSER") == "" || getenv("PGPASSWORD") == "" {
		return errors.New("nobody says with which user and password")
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return conn.Close()
}

// page says what the service was given.
func page(getenv func(string) string) string {
	text := cmp.Or(getenv("GREETING"), "Hello")
	if key := getenv("SESSION_KEY"); key != "" {
		text += fmt.Sprintf(", with a key of %d characters", len(key))
	}
	if upstream := getenv("UPSTREAM"); upstream != "" {
		text += ", in front of " + upstream
	}
	return text
}

// web serves until ctx ends; then it answers what it has begun, and stops.
func web(ctx context.Context, getenv func(string) string, out io.Writer) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		if err := reach(r.Context(), getenv); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, page(getenv))
	})
	srv := &http.Server{Addr: net.JoinHostPort(getenv("HOST"), getenv("PORT")), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	_, _ = fmt.Fprintln(out, "web: listening on", srv.Addr)
	served := make(chan error, 1)
	go func() { served <- srv.ListenAndServe() }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return srv.Shutdown(last)
}

// database accepts connections until ctx ends, and says nothing on them.
func database(ctx context.Context, getenv func(string) string, out io.Writer) error {
	if getenv("PGPASSWORD") == "" {
		return errors.New("PGPASSWORD is not set")
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(getenv("PGHOST"), getenv("PGPORT")))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	_, _ = fmt.Fprintln(out, "database: listening on", ln.Addr())
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		_ = conn.Close()
	}
}
