package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// worker orders from the web server every other second until ctx ends. A shop
// that does not answer is nothing to stop for.
func worker(ctx context.Context, url string, out io.Writer) error {
	client := &http.Client{Timeout: 2 * time.Second}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		answer, err := order(ctx, client, url)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			answer = err.Error()
		}
		_, _ = fmt.Fprintf(out, "worker: order %d: %s\n", n, answer)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func order(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 1 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the shop answered %s", resp.Status)
	}
	return string(bytes.TrimSpace(body)), nil
}
