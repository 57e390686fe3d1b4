// Shop is the program that the example runs: a web server and a worker that
// orders from it. It stands for any program that takes a file, a password and
// an address from whoever starts it, and it must not know who that is.
//
//	shop web -config FILE     DB_PASSWORD in the environment
//	shop worker -url URL
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: shop web -config FILE | shop worker -url URL")

// run does what args say until ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) != 3 {
		return errUsage
	}
	switch {
	case args[0] == "web" && args[1] == "-config":
		return web(ctx, args[2], getenv("DB_PASSWORD"), out)
	case args[0] == "worker" && args[1] == "-url":
		return worker(ctx, args[2], out)
	default:
		return errUsage
	}
}
