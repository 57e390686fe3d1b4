package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// patience is how long a script waits for something that has to happen.
const patience = 2 * time.Minute

// setup gives each script a runtime folder, an identity for Git, and an end for
// the processes that it left running.
func setup(env *testscript.Env) error {
	run, err := os.MkdirTemp("", "apl") // short: it holds a socket
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(run) })
	env.Defer(func() { endRuns(env.WorkDir) })
	for k, v := range map[string]string{
		"XDG_RUNTIME_DIR": run, "APLOMB_DATA": filepath.Join(env.WorkDir, ".aplomb"),
		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1",
		"GIT_AUTHOR_NAME": "Ana", "GIT_AUTHOR_EMAIL": "ana@example.org",
		"GIT_COMMITTER_NAME": "Ana", "GIT_COMMITTER_EMAIL": "ana@example.org",
		"USER": "ana", "NO_COLOR": "1",
	} {
		env.Setenv(k, v)
	}
	all, err := examples()
	if err != nil {
		return err
	}
	env.Setenv("EXAMPLES", all)
	env.Values["remembered"] = map[string]string{}
	return nil
}

// poll asks again and again until f has no error, for at most d.
func poll(d time.Duration, f func() error) error {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return err
		}
	}
}

// cmdCode is: code N COMMAND... The command ends with exit code N.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with %d, not %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// cmdCommit is: commit REPO MESSAGE. It commits all of REPO's work tree and
// sets HEAD to the new commit's short hash.
func cmdCommit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: commit REPO MESSAGE")
	}
	ts.Check(ts.Exec("git", "-C", args[0], "add", "-A"))
	ts.Check(ts.Exec("git", "-C", args[0], "commit", "-q", "--allow-empty", "-m", args[1]))
	ts.Check(ts.Exec("git", "-C", args[0], "rev-parse", "HEAD"))
	ts.Setenv("HEAD", strings.TrimSpace(ts.ReadFile("stdout"))[:7])
}

// client is a client of the script's daemon, as soon as it answers.
func client(ts *testscript.TestScript) *api.Client {
	path, err := api.SocketPath(filepath.Join(ts.Getenv("XDG_RUNTIME_DIR"), "aplomb"), ts.Getenv("APLOMB_DATA"))
	ts.Check(err)
	var c *api.Client
	ts.Check(poll(patience, func() error {
		d, _, err := api.Dial(context.Background(), api.Address{Socket: path})
		if err != nil {
			return err
		}
		all, err := d.Environments(context.Background())
		if err != nil {
			return err
		}
		name := ts.Getenv("APLOMB_ENV")
		if name == "" && len(all) == 1 {
			name = all[0].Name
		}
		c = d.Environment(name)
		if c.Status(); c.Err() != nil {
			return c.Err()
		}
		return nil
	}))
	return c
}

// cmdUntil is: until CONDITION... It waits until the daemon's status meets all
// conditions at once: converged, settled, refused, suspended, source-ok,
// source-failing, rev=SHORT, templates=SHORT, policies-not=ID, owned=N, STATE=N.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: until CONDITION...")
	}
	c := client(ts)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last reconciler.Status
	_, err := c.Wait(ctx, func(st reconciler.Status) bool {
		last = st
		return !slices.ContainsFunc(args, func(a string) bool { return !meets(ts, st, a) })
	})
	if err != nil {
		b, _ := json.MarshalIndent(last, "", "  ")
		ts.Fatalf("until %s: %v; the last status was %s", strings.Join(args, " "), err, b)
	}
}

func meets(ts *testscript.TestScript, st reconciler.Status, condition string) bool {
	name, value, has := strings.Cut(condition, "=")
	switch {
	case condition == "converged":
		return st.Converged
	case condition == "settled":
		return st.Settled
	case condition == "refused":
		return st.Refused != nil
	case condition == "suspended":
		return st.Suspended != nil
	case condition == "source-ok":
		return st.Source.OK
	case condition == "source-failing":
		return !st.Source.OK && st.Source.Error != ""
	case has && name == "rev":
		return st.Revision.Short() == value
	case has && name == "templates":
		return st.Templates != nil && st.Templates.Revision.Short() == value
	case has && name == "policies-not":
		return st.Policies != nil && st.Policies.Revision.ID != value
	case has && name == "owned":
		return strconv.Itoa(len(st.Resources)) == value
	case has && slices.Contains(reconciler.States, reconciler.State(name)):
		return strconv.Itoa(st.Counts[reconciler.State(name)]) == value
	}
	ts.Fatalf("until: %q is no condition", condition)
	return false
}

// cmdField is: field VAR PATH. It sets VAR to a field of the JSON on the last
// command's standard output; PATH is a.0.b.
func cmdField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field VAR PATH")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for step := range strings.SplitSeq(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(at) {
				ts.Fatalf("field %s: no element %s of %d", args[1], step, len(at))
			}
			v = at[i]
		}
	}
	if v == nil {
		ts.Fatalf("field %s: there is none", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// identity tells one thing from another that has taken its place.
func identity(ts *testscript.TestScript, what string) (string, error) {
	kind, name, _ := strings.Cut(what, ":")
	switch kind {
	case "file":
		st, err := os.Stat(ts.MkAbs(name))
		if err != nil {
			return "", err
		}
		return fmt.Sprint(st.Sys().(*syscall.Stat_t).Ino, st.ModTime().UnixNano(), st.Size()), nil
	case "process":
		all := instances(ts, name)
		if len(all) == 0 {
			return "", fmt.Errorf("no process of %s runs", name)
		}
		return fmt.Sprint(all), nil
	}
	return "", fmt.Errorf("%q is neither file:PATH nor process:NAME", what)
}

// cmdRemember is: remember file:PATH or process:NAME...
func cmdRemember(ts *testscript.TestScript, neg bool, args []string) {
	for _, what := range args {
		id, err := identity(ts, what)
		ts.Check(err)
		ts.Value("remembered").(map[string]string)[what] = id
	}
}

// cmdSame is: [!] same file:PATH or process:NAME... What was remembered is
// there still; with ! it waits until something else is.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	for _, what := range args {
		was := ts.Value("remembered").(map[string]string)[what]
		if was == "" {
			ts.Fatalf("%s was not remembered", what)
		}
		differs := func() error {
			id, err := identity(ts, what)
			if err == nil && (id == was) == neg {
				err = fmt.Errorf("%s: was %s, is %s", what, was, id)
			}
			return err
		}
		if neg {
			ts.Check(poll(patience, differs))
		} else {
			ts.Check(differs())
		}
	}
}

// cmdKillProc is: killproc NAME. It kills the first instance of a process, as
// something else than aplomb would.
func cmdKillProc(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: killproc NAME")
	}
	all := instances(ts, args[0])
	if len(all) == 0 {
		ts.Fatalf("no process of %s runs", args[0])
	}
	ts.Check(syscall.Kill(all[0].pid, syscall.SIGKILL))
	ts.Check(poll(patience, func() error {
		if now := instances(ts, args[0]); slices.ContainsFunc(now, func(p proc) bool { return p.pid == all[0].pid }) {
			return fmt.Errorf("process %d does not end", all[0].pid)
		}
		return nil
	}))
}

// cmdRunning is: running NAME N. It waits until N processes of NAME run.
func cmdRunning(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: running NAME N")
	}
	ts.Check(poll(patience, func() error {
		if all := instances(ts, args[0]); strconv.Itoa(len(all)) != args[1] {
			return fmt.Errorf("%d processes of %s run, not %s", len(all), args[0], args[1])
		}
		return nil
	}))
}

// cmdOccupy is: occupy PORT. Somebody else listens on a port from now on.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy PORT")
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
}

// cmdEventually is: [!] eventually PATH TEXT. It waits until a file holds a
// text; with ! until it is there and does not.
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] eventually PATH TEXT")
	}
	ts.Check(poll(patience, func() error {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && bytes.Contains(b, []byte(args[1])) == neg {
			err = fmt.Errorf("%s holds %q", args[0], b)
		}
		return err
	}))
}
