package plain_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
	"github.com/aplomb-dev/aplomb/sources/forge/plain"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// town is a bare repository, a clone that people push from, and their keys.
type town struct {
	work, bare *gittest.Repo
	dir        string
	cfg        git.Config
	report     git.ReporterConfig
	signers    string
	n          int
}

// newTown is a repository that is used in place, or over https.
func newTown(t testing.TB, https bool) *town {
	t.Helper()
	root := t.TempDir()
	v := &town{work: gittest.New(t), bare: gittest.Bare(t, root, "fleet.git"), dir: t.TempDir()}
	v.cfg = git.Config{URL: v.bare.Dir, Branch: "main", Dir: filepath.Join(v.dir, "src")}
	v.report = git.ReporterConfig{URL: v.bare.Dir, Tracked: "main"}
	if https {
		web := gittest.ServeHTTPS(t, root, "c4nary-t0ken")
		v.write(t, "token", "c4nary-t0ken")
		v.cfg.URL, v.cfg.Auth = web.URL+"/fleet.git", git.Auth{TokenFile: filepath.Join(v.dir, "token"), CAFile: web.CAFile}
		v.report.URL, v.report.Auth, v.report.Dir = v.cfg.URL, v.cfg.Auth, filepath.Join(v.dir, "status")
	}
	v.signers = filepath.Join(v.dir, "allowed")
	var list string
	for _, who := range []string{"ana", "bo", "eve"} {
		file := filepath.Join(v.dir, who)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
		public, err := os.ReadFile(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		if who != "eve" {
			list += who + "@example.org " + string(public)
		}
	}
	v.write(t, "allowed", list)
	v.work.Git("config", "gpg.format", "ssh")
	v.work.Git("config", "commit.gpgsign", "true")
	v.as("ana")
	v.work.Commit("first", "a", "1")
	v.push("main")
	return v
}

func (v *town) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// as makes who the one that signs from now on.
func (v *town) as(who string) { v.work.Git("config", "user.signingkey", filepath.Join(v.dir, who)) }

func (v *town) push(args ...string) {
	v.work.Git(append([]string{"push", "-q", v.bare.Dir}, args...)...)
}

// propose pushes a branch with one commit on main, and gives the commit.
func (v *town) propose(name string, args ...string) string {
	v.n++
	v.work.Git("checkout", "-q", "-B", "topic", "main")
	v.work.Write("f"+strconv.Itoa(v.n), name)
	v.work.Git("add", "-A")
	v.work.Git(append([]string{"commit", "-q", "-m", "Change " + name}, args...)...)
	v.push("+topic:" + name)
	return v.work.Head()
}

// merge merges a commit into main with a message, and pushes it.
func (v *town) merge(head, message string, args ...string) string {
	v.work.Git("checkout", "-q", "main")
	v.work.Git(append([]string{"merge", "-q", "--no-ff", "-m", message, head}, args...)...)
	v.push("main")
	return v.work.Head()
}

// connect is the repository as a forge.
func (v *town) connect(t testing.TB) *plain.Plain {
	t.Helper()
	s, err := git.Open(v.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := git.NewReporter(v.report)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.Close(), r.Close() })
	p, err := plain.New(plain.Config{Environment: "prod", Repository: "fleet", Prefix: "proposals/", Own: "aplomb/", Signers: []string{v.signers}, Git: s, Pages: r})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// both runs a test in place and over https.
func both(t *testing.T, test func(*testing.T, *town)) {
	for name, https := range map[string]bool{"file": false, "https": true} {
		t.Run(name, func(t *testing.T) { test(t, newTown(t, https)) })
	}
}

// page is what stands on the status branch; empty: nothing.
func (v *town) page(name string) string {
	text, err := v.bare.Try("show", "aplomb-status:prod/proposals/"+name)
	if err != nil {
		return ""
	}
	return text
}

// writes counts the commits of the status branch.
func (v *town) writes() int {
	text, err := v.bare.Try("rev-list", "--count", "aplomb-status")
	n, cerr := strconv.Atoi(text)
	if err != nil || cerr != nil {
		return 0
	}
	return n
}

// server is a town for the suite: of what people do there, it can propose and
// commit, and read what aplomb wrote.
type server struct {
	forgetest.Server // what the chosen parts do not need
	*town
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request)   { http.NotFound(w, r) }
func (s *server) Connect(t testing.TB, _ string, _ bool) forge.Forge { return s.connect(t) }
func (s *server) Writes() int                                        { return s.writes() }
func (s *server) Say(testing.TB, string, string, string)             {} // people do not speak here
func (s *server) Propose(_ testing.TB, w forgetest.Wish) string {
	s.propose("proposals/" + w.Branch)
	return w.Branch
}
func (s *server) Commit(testing.TB) string {
	s.work.Git("checkout", "-q", "main")
	h := s.work.Commit("direct", "direct", strconv.Itoa(s.writes()))
	s.push("main")
	return h
}

// Comments are the parts of a page that aplomb wrote.
func (s *server) Comments(_ testing.TB, id string) []forge.Comment {
	var out []forge.Comment
	_, body, _ := strings.Cut(s.page(id+".md"), "<!-- aplomb:")
	for text := range strings.SplitSeq(body, "\n<!-- aplomb:") {
		if text != "" {
			out = append(out, forge.Comment{Author: forge.Account{Name: forgetest.Us}, Body: "<!-- aplomb:" + text})
		}
	}
	return out
}

// Statuses are read from what the branch has ever held.
func (s *server) Statuses(t testing.TB, commit, context string) []forge.Status {
	var out []forge.Status
	for _, rev := range slices.Backward(strings.Fields(s.bare.Git("log", "--format=%H", "aplomb-status"))) {
		var all []struct {
			Commit, Context, Description, URL string
			State                             forge.StatusState
		}
		if err := json.Unmarshal([]byte(s.bare.Git("show", rev+":prod/proposals/statuses.json")), &all); err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			st := forge.Status{Context: one.Context, State: one.State, Description: one.Description, URL: one.URL}
			if one.Commit == commit && one.Context == context && (len(out) == 0 || out[len(out)-1] != st) {
				out = append(out, st)
			}
		}
	}
	return out
}

// The parts of the suite that need neither an API nor people who speak.
func TestSuite(t *testing.T) {
	forgetest.Run(t, func(t testing.TB) forgetest.Server { return &server{town: newTown(t, false)} },
		"Comment", "CommentLong", "CommentAtOnce", "Status")
}

// second is for a second one who writes to the status branch.
func (v *town) second(t testing.TB) git.ReporterConfig {
	cfg := v.report
	if cfg.Dir != "" {
		cfg.Dir = t.TempDir()
	}
	return cfg
}
