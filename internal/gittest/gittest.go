// Package gittest is a real Git for tests: repositories made with the git
// command, and servers on loopback that speak https and ssh with git's own
// programs behind them. Only tests may import it; it must not know the code
// that it is used to test.
package gittest

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Repo is a repository with a work tree.
type Repo struct {
	Dir string
	t   testing.TB
	tic int
}

// New makes an empty repository whose branch is main.
func New(t testing.TB) *Repo {
	t.Helper()
	r := &Repo{Dir: filepath.Join(t.TempDir(), "work"), t: t}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Git("init", "-q", "-b", "main")
	return r
}

// At is an existing repository, bare or not.
func At(t testing.TB, dir string) *Repo { return &Repo{Dir: dir, t: t} }

// Git runs the git command in the repository and gives its output. It reads no
// configuration of the machine or the user, and its clock moves a second with
// each call.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	out, err := r.Try(args...)
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Try is Git for commands that may fail.
func (r *Repo) Try(args ...string) (string, error) {
	r.tic++
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(environ(), "GIT_AUTHOR_DATE="+stamp(r.tic), "GIT_COMMITTER_DATE="+stamp(r.tic))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// Write writes a file in the work tree.
func (r *Repo) Write(name, content string) {
	r.t.Helper()
	file := filepath.Join(r.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// Commit writes files, given as name and content by turns, commits all that
// changed and gives the hash.
func (r *Repo) Commit(message string, files ...string) string {
	r.t.Helper()
	for i := 0; i < len(files); i += 2 {
		r.Write(files[i], files[i+1])
	}
	r.Git("add", "-A")
	r.Git("commit", "-q", "--allow-empty", "-m", message)
	return r.Head()
}

// Head is the hash of the current commit.
func (r *Repo) Head() string {
	r.t.Helper()
	return r.Git("rev-parse", "HEAD")
}

// Bare makes a bare repository in dir/name, to be served and pushed to.
func Bare(t testing.TB, dir, name string) *Repo {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	b := At(t, path)
	b.Git("init", "-q", "--bare", "-b", "main")
	b.Git("config", "http.receivepack", "true")
	return b
}

// Noise is text of n bytes that does not compress, the same each time.
func Noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	return string(b)
}

func stamp(tic int) string {
	return "@" + strconv.Itoa(1_700_000_000+tic) + " +0000"
}

func environ() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ana", "GIT_AUTHOR_EMAIL=ana@example.org",
		"GIT_COMMITTER_NAME=Ana", "GIT_COMMITTER_EMAIL=ana@example.org",
		"GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_CONFIG_KEY_1=gc.auto", "GIT_CONFIG_VALUE_1=0", // nothing runs on in the background
		"GIT_CONFIG_KEY_2=maintenance.auto", "GIT_CONFIG_VALUE_2=false",
	}
}

// Tree writes a tree object with one entry, a file, under any name at all, and
// gives its hash.
func Tree(t testing.TB, r *Repo, name, blob string) string {
	t.Helper()
	raw, err := hex.DecodeString(blob)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
	cmd.Dir, cmd.Env = r.Dir, environ()
	cmd.Stdin = strings.NewReader("100644 " + name + "\x00" + string(raw))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
