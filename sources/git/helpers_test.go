package git

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

func open(t testing.TB, cfg Config) *Source {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.store.close)
	return s
}

// take asks for the tip and fetches it.
func take(t testing.TB, s *Source) *sources.Snapshot {
	t.Helper()
	snap, err := try(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func try(t testing.TB, s *Source) (*sources.Snapshot, error) {
	t.Helper()
	rev, err := s.Head(t.Context())
	if err != nil {
		return nil, err
	}
	return s.Fetch(t.Context(), rev)
}

func wantFile(t testing.TB, snap *sources.Snapshot, name, want string) {
	t.Helper()
	b, err := fs.ReadFile(snap.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != want {
		t.Fatalf("%s is %q, want %q", name, b, want)
	}
}

func write(t testing.TB, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const token = "c4nary-t0ken"

// served is a repository with a clone that pushes to it, behind one kind of
// server.
type served struct {
	work *gittest.Repo
	bare *gittest.Repo
	cfg  Config
	web  *gittest.HTTPS
}

func (s *served) push(args ...string) {
	s.work.Git(append([]string{"push", "-q", s.bare.Dir}, args...)...)
}

func overHTTPS(t testing.TB) *served {
	t.Helper()
	root := t.TempDir()
	s := &served{work: gittest.New(t), bare: gittest.Bare(t, root, "fleet.git")}
	s.web = gittest.ServeHTTPS(t, root, token)
	s.cfg = Config{URL: s.web.URL + "/fleet.git", Branch: "main", Dir: filepath.Join(t.TempDir(), "src"),
		Auth: Auth{TokenFile: write(t, filepath.Join(t.TempDir(), "token"), token+"\n"), CAFile: s.web.CAFile}}
	return s
}

func throughSSH(t testing.TB) *served {
	t.Helper()
	root := t.TempDir()
	s := &served{work: gittest.New(t), bare: gittest.Bare(t, root, "fleet.git")}
	server := gittest.ServeSSH(t, root)
	s.cfg = Config{URL: server.URL("fleet.git"), Branch: "main", Dir: filepath.Join(t.TempDir(), "src"),
		Auth: Auth{KeyFile: server.KeyFile, KnownHostsFile: server.KnownHosts}}
	return s
}

func inPlace(t testing.TB) *served {
	t.Helper()
	s := &served{work: gittest.New(t), bare: gittest.Bare(t, t.TempDir(), "fleet.git")}
	s.cfg = Config{URL: s.bare.Dir, Branch: "main", Dir: filepath.Join(t.TempDir(), "src")}
	return s
}

// everywhere runs a test against each kind of repository.
func everywhere(t *testing.T, test func(*testing.T, *served)) {
	for name, start := range map[string]func(testing.TB) *served{"https": overHTTPS, "ssh": throughSSH, "file": inPlace} {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}
