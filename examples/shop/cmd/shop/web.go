package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// config is the file that web is given. It is read once, at the start.
type config struct {
	Listen   string `json:"listen"`
	Greeting string `json:"greeting"`
}

// web serves until ctx ends; then it answers what it has begun, and stops.
func web(ctx context.Context, path, password string, out io.Writer) error {
	cfg, err := readConfig(path)
	if err != nil {
		return err
	}
	if password == "" {
		return errors.New("DB_PASSWORD is not set")
	}
	ln, err := listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "web: listening on %s with a password of %d characters\n", ln.Addr(), len(password))

	srv := &http.Server{Handler: routes(cfg), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	_, _ = fmt.Fprintln(out, "web: stopping")
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return srv.Shutdown(last)
}

func readConfig(path string) (config, error) {
	var cfg config
	data, err := os.ReadFile(path)
	if err != nil {
		return cfg, fmt.Errorf("read config: %w", err)
	}
	if err := json.Unmarshal(data, &cfg); err != nil {
		return cfg, fmt.Errorf("read config %s: %w", path, err)
	}
	return cfg, nil
}

func routes(cfg config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "%s (process %d)\n", cfg.Greeting, os.Getpid())
	})
	return mux
}

// listen shares the address with other instances of the shop, so that one can
// be replaced while another goes on serving.
func listen(ctx context.Context, address string) (net.Listener, error) {
	shared := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var failed error
		err := conn.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failed)
	}}
	return shared.Listen(ctx, "tcp", address)
}
