package detached

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary both the shim and the commands that it runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == ShimCommand {
		syscall.Exit(ShimMain(os.Args[2:])) // at once: the race detector dawdles in os.Exit
	}
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		syscall.Exit(helper(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// helper is the programs that the tests run.
func helper(what string, args []string) int {
	switch what {
	case "exit":
		n, _ := strconv.Atoi(args[0])
		return n
	case "stay":
		fmt.Println("up")
		<-time.After(time.Hour)
	case "stubborn": // does not end when asked
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		fmt.Println("up")
		<-time.After(time.Hour)
	case "env":
		for _, v := range os.Environ() {
			fmt.Println(v)
		}
	case "flood": // args[0] lines of 100 bytes
		w := bufio.NewWriter(os.Stdout)
		n, _ := strconv.Atoi(args[0])
		for i := range n {
			_, _ = fmt.Fprintf(w, "%09d %s\n", i, strings.Repeat("x", 89))
		}
		_ = w.Flush()
	case "streams":
		_, _ = fmt.Fprintln(os.Stdout, "to stdout")
		_, _ = fmt.Fprintln(os.Stderr, "to stderr")
	case "daemon": // leaves a stubborn process in a session of its own, then does as args say
		attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}}
		if _, err := syscall.ForkExec("/proc/self/exe", []string{"t", "helper", "stubborn"}, attr); err != nil {
			return 3
		}
		return helper(args[0], args[1:])
	case "whoami":
		sid, _ := unix.Getsid(0)
		fmt.Println(os.Getpid(), syscall.Getpgrp(), sid, os.Getppid())
	case "starter": // a starter that starts args[1] in folder args[0] and is killed meanwhile
		_, err := Shim{}.Start(context.Background(), args[0], Spec{
			Argv: []string{"/proc/self/exe", "helper", args[1]}, Dir: "/", Stop: Stop{Grace: time.Second}})
		fmt.Println("started", err)
		<-time.After(time.Hour)
	}
	return 0
}
