package local

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/detached"
)

// TestMain makes the test binary the shim and the programs that it runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == detached.ShimCommand {
		syscall.Exit(detached.ShimMain(os.Args[2:])) // at once: the race detector dawdles in os.Exit
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
	case "once": // adds a line to a file, then ends with a status
		f, err := os.OpenFile(args[0], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 9
		}
		_, _ = fmt.Fprintln(f, os.Getenv("APLOMB_INSTANCE"))
		_ = f.Close()
		n, _ := strconv.Atoi(args[1])
		return n
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("up")
		<-time.After(time.Hour)
	case "stay":
		fmt.Println("up", os.Getenv("APLOMB_INSTANCE"))
		<-time.After(time.Hour)
	case "apply":
		return applier(args)
	case "leak": // writes a variable's length, so that it is known to have come
		fmt.Println("length", len(os.Getenv(args[0])))
		<-time.After(time.Hour)
	case "http": // listens on args[0] and answers args[1]
		status, _ := strconv.Atoi(args[1])
		l, err := net.Listen("tcp", args[0])
		if err != nil {
			return 4
		}
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	}
	return 0
}

func itoa(n int) string { return strconv.Itoa(n) }
