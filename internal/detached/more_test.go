package detached

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aplomb-dev/aplomb/schema"
)

func TestSecretsStayInMemory(t *testing.T) {
	const canary = "c4n4ry-\xff\x00value"
	secret := strings.ReplaceAll(canary, "\x00", "\x01")
	run := begin(t, Spec{Env: []string{"OPEN=door"}, Secrets: map[string]schema.Secret{"KEY": schema.NewSecret(secret)}}, "stay")
	says(t, run, "up")
	st := status(t, run)
	env, err := readProc(st.Child.PID, "environ", MaxEnviron)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"KEY=" + secret, "OPEN=door", MarkVariable + "=" + run.Dir()} {
		if !bytes.Contains(env, append([]byte(want), 0)) {
			t.Errorf("the command has no %q", want)
		}
	}
	shim := shimOf(t, run)
	for _, file := range []string{"environ", "cmdline"} {
		text, err := readProc(shim.PID, file, MaxEnviron)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("c4n4ry")) {
			t.Errorf("the secret is in the shim's %s", file)
		}
	}
	nowhere(t, run.Dir(), secret)
}

// nowhere fails where a file below dir holds the plaintext in some disguise.
func nowhere(t *testing.T, dir, plaintext string) {
	t.Helper()
	disguises := []string{plaintext, hex.EncodeToString([]byte(plaintext)), base64.StdEncoding.EncodeToString([]byte(plaintext)), base64.RawURLEncoding.EncodeToString([]byte(plaintext))}
	read := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		read++
		for _, d := range disguises {
			if bytes.Contains(text, []byte(d)) {
				t.Errorf("%s holds the secret", path)
			}
		}
		return err
	})
	if err != nil || read < 3 {
		t.Fatalf("read %d files: %v", read, err)
	}
}

func TestFilesAreOwnersAlone(t *testing.T) {
	run := begin(t, Spec{Log: Log{MaxSize: 1}}, "stay")
	says(t, run, "up")
	for _, name := range []string{specFile, recordFile, lockFile, logFile, shimFile} {
		info, err := os.Stat(run.path(name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestOwnSessionAndGroup(t *testing.T) {
	run := begin(t, Spec{}, "whoami")
	ends(t, run)
	var pid, pgrp, sid, ppid int
	if _, err := fmt.Sscan(written(t, run), &pid, &pgrp, &sid, &ppid); err != nil {
		t.Fatal(err)
	}
	mine, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	if pgrp != pid || sid == mine || sid != ppid {
		t.Fatalf("pid %d, group %d, session %d (its starter's is %d), parent %d", pid, pgrp, sid, mine, ppid)
	}
}

// TestLeftBehind: what the command put into a session of its own ends with it.
func TestLeftBehind(t *testing.T) {
	for name, end := range map[string]func(*Run){
		"stopped": func(run *Run) {
			if _, err := run.Stop(t.Context(), Stop{Grace: 100 * time.Millisecond}); err != nil {
				t.Error(err)
			}
		},
		"killed": func(run *Run) { kill(t, status(t, run).Child) },
	} {
		t.Run(name, func(t *testing.T) {
			run := begin(t, Spec{Stop: Stop{Grace: 100 * time.Millisecond}}, "daemon", "stay")
			says(t, run, "up\nup")
			procs, err := Find(run.Dir())
			if err != nil || len(procs) != 2 {
				t.Fatalf("%d processes, %v", len(procs), err)
			}
			end(run)
			if st := ends(t, run); st.State != Exited {
				t.Fatalf("got %+v", st)
			}
			for _, p := range procs {
				if p.alive() {
					t.Errorf("process %d lives on", p.PID)
				}
			}
		})
	}
}

func TestStopsAsLastTold(t *testing.T) {
	run := begin(t, Spec{}, "stubborn")
	says(t, run, "up")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := run.Stop(ctx, Stop{Signal: "INT", Grace: time.Hour}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	other, err := Open(run.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if st, err := other.Stop(t.Context(), Stop{Signal: "INT", Grace: 10 * time.Millisecond}); err != nil || st.Exit.Signal != "KILL" {
		t.Fatalf("got %+v, %v", st, err)
	}
}

func TestStopOfOneThatHangs(t *testing.T) {
	run := begin(t, Spec{}, "stay")
	says(t, run, "up")
	if err := run.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if st, err := run.Stop(t.Context(), Stop{Grace: 50 * time.Millisecond}); err != nil || st.Exit.Signal != "KILL" {
		t.Fatalf("got %+v, %v", st, err)
	}
}

func TestCannotBeStarted(t *testing.T) {
	for name, spec := range map[string]Spec{
		"no such program": {Argv: []string{"no-such-program-anywhere"}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}},
		"no such file":    {Argv: []string{"/no/such/file"}, Dir: "/"},
		"no such folder":  {Argv: []string{"/proc/self/exe"}, Dir: "/no/such/folder"},
	} {
		t.Run(name, func(t *testing.T) {
			run, err := Shim{}.Start(t.Context(), filepath.Join(t.TempDir(), "run"), spec)
			if err != nil {
				t.Fatal(err)
			}
			if st := ends(t, run); st.State != Exited || st.Exit.Error == "" || st.Exit.Code == 0 {
				t.Fatalf("got %+v", st)
			}
		})
	}
}

func TestRefusedSpecs(t *testing.T) {
	good := Spec{Argv: []string{"x"}, Dir: "/"}
	for name, spoil := range map[string]func(*Spec){
		"nothing to run":    func(s *Spec) { s.Argv = nil },
		"NUL in argv":       func(s *Spec) { s.Argv = []string{"a\x00b"} },
		"argv too large":    func(s *Spec) { s.Argv = []string{strings.Repeat("x", MaxArgv)} },
		"environ too large": func(s *Spec) { s.Env = []string{"A=" + strings.Repeat("x", MaxEnviron)} },
		"secrets too large": func(s *Spec) {
			s.Secrets = map[string]schema.Secret{"A": schema.NewSecret(strings.Repeat("x", MaxEnviron))}
		},
		"secret's bad name":  func(s *Spec) { s.Secrets = map[string]schema.Secret{"A=B": {}} },
		"NUL in a secret":    func(s *Spec) { s.Secrets = map[string]schema.Secret{"A": schema.NewSecret("a\x00")} },
		"relative folder":    func(s *Spec) { s.Dir = "here" },
		"no signal":          func(s *Spec) { s.Stop.Signal = "NOPE" },
		"signal with prefix": func(s *Spec) { s.Stop.Signal = "SIGTERM" },
	} {
		t.Run(name, func(t *testing.T) {
			spec := good
			spoil(&spec)
			dir := filepath.Join(t.TempDir(), "run")
			if _, err := (Shim{}).Start(t.Context(), dir, spec); err == nil {
				t.Error("it was taken")
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("a folder was made")
			}
		})
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	run := begin(t, Spec{}, "stay")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if st, err := run.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || st.State != Running {
		t.Fatalf("got %+v, %v", st, err)
	}
}

func TestStreams(t *testing.T) {
	errs := filepath.Join(t.TempDir(), "errors.log")
	for name, size := range map[string]int{"to the file itself": 0, "rotated": 1} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "out.log")
			run := begin(t, Spec{Log: Log{File: file, Errors: errs, MaxSize: size}}, "streams")
			ends(t, run)
			out, err := os.ReadFile(file)
			if err != nil || string(out) != "to stdout\n" {
				t.Errorf("standard output: %q, %v", out, err)
			}
			text, err := os.ReadFile(errs)
			if err != nil || !strings.HasSuffix(string(text), "to stderr\n") {
				t.Errorf("standard error: %q, %v", text, err)
			}
		})
	}
}

func TestRotation(t *testing.T) {
	const lines = 50_000 // of 100 bytes
	run := begin(t, Spec{Log: Log{MaxSize: 1, Keep: 2}}, "flood", fmt.Sprint(lines))
	if st := ends(t, run); st.Exit.Code != 0 {
		t.Fatalf("got %+v", st)
	}
	files := append(rotated(run.path(logFile)), run.path(logFile))
	if len(files) > 3 {
		t.Errorf("%d files were kept", len(files))
	}
	var sum int64
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if sum += info.Size(); info.Size() > 1<<20 {
			t.Errorf("%s has %d bytes", f, info.Size())
		}
	}
	if sum < 1<<20 {
		t.Errorf("only %d bytes were kept", sum)
	}
	var got bytes.Buffer
	if err := Tail(t.Context(), run.path(logFile), 15_000, false, &got); err != nil {
		t.Fatal(err)
	}
	text := strings.Split(strings.TrimSuffix(got.String(), "\n"), "\n")
	if len(text) != 15_000 {
		t.Fatalf("%d lines", len(text))
	}
	for i, line := range text {
		if want := fmt.Sprintf("%09d ", lines-15_000+i); !strings.HasPrefix(line, want) {
			t.Fatalf("line %d is %q, want %q", i, line, want)
		}
	}
}

func TestTailFollowsOverRotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.log")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Tail(ctx, file, 10, true, w) }()
	want := func(text string) {
		t.Helper()
		_ = r.SetReadDeadline(time.Now().Add(10 * time.Second))
		got := make([]byte, len(text))
		if n, err := r.Read(got); err != nil || string(got[:n]) != text {
			t.Fatalf("got %q, %v; want %q", got[:n], err, text)
		}
	}
	put := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
			_ = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(file, "one\n")
	want("one\n")
	put(file, "two\n")
	want("two\n")
	if err := os.Rename(file, filepath.Join(filepath.Dir(file), "a-2026.log")); err != nil {
		t.Fatal(err)
	}
	put(file, "three\n")
	want("three\n")
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 42 1 1"))
	f.Add([]byte("7 (a) b) (c) Z 3 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStat(text)
		if err == nil && s.state == 0 {
			t.Errorf("no state in %q", text)
		}
	})
}

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("7 (a) b) (c) Z 3 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99"))
	if err != nil || s.state != 'Z' || s.ppid != 3 || s.start != 99 {
		t.Fatalf("got %+v, %v", s, err)
	}
}
