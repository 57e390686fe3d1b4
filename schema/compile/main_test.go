package compile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// workerEnv makes the test binary a worker instead of running tests.
const workerEnv = "APLOMB_TEST_WORKER"

func TestMain(m *testing.M) {
	serve := map[string]func(context.Context, io.Reader, io.Writer) error{
		"good":   ServeWorker,
		"wicked": serveWicked,
		"old":    serveOld,
	}[os.Getenv(workerEnv)]
	if serve == nil {
		os.Exit(m.Run())
	}
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// testWorker is Options.Worker in tests.
func testWorker() *exec.Cmd { return workerOf("good") }

func workerOf(mode string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{workerEnv + "=" + mode}
	return cmd
}

// serveWicked is a worker whose evaluations go wrong by the name of the file.
func serveWicked(ctx context.Context, in io.Reader, out io.Writer) error {
	c, err := newChecker(Limits{}.withDefaults())
	if err != nil {
		return err
	}
	if err := writeFrame(out, hello{Schema: schemaHash()}); err != nil {
		return err
	}
	for checked := 0; ; {
		frame, err := readFrame(in)
		if err != nil {
			return nil
		}
		var req request
		if err := json.Unmarshal(frame, &req); err != nil {
			return err
		}
		for _, f := range req.Files {
			if err := misbehave(f.Path, checked); err != nil {
				return err
			}
			checked++
			if err := writeFrame(out, c.file(f.Path, f.Data)); err != nil {
				return err
			}
		}
	}
}

func misbehave(name string, checked int) error {
	switch {
	case strings.Contains(name, "hang"):
		select {}
	case strings.Contains(name, "eat"):
		var all [][]byte
		for {
			block := make([]byte, 8<<20)
			for i := range block {
				block[i] = 1
			}
			all = append(all, block)
			if len(all) > 1000 {
				return errors.New("nobody stops me")
			}
		}
	case strings.Contains(name, "die"), strings.Contains(name, "tired") && checked > 0:
		os.Exit(3)
	}
	return nil
}

// serveOld is a worker of a binary with other schemas.
func serveOld(_ context.Context, in io.Reader, out io.Writer) error {
	if err := writeFrame(out, hello{}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}
