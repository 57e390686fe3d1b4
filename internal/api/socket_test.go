package api

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPeer: only the user who runs the daemon, and root, are answered.
func TestPeer(t *testing.T) {
	for _, tc := range []struct {
		peer peer
		self int
		good bool
	}{
		{peer{uid: 1000}, 1000, true}, {peer{uid: 0}, 1000, true}, {peer{uid: 1001}, 1000, false}, {peer{uid: 1000}, 0, false},
		{peer{err: errors.New("not known")}, 0, false},
	} {
		if err := tc.peer.admit(tc.self); (err == nil) != tc.good || err != nil && !errors.Is(err, ErrPeer) {
			t.Errorf("%+v at %d: %v", tc.peer, tc.self, err)
		}
	}
}

func TestRuntimeDir(t *testing.T) {
	tmp := t.TempDir()
	xdg := t.TempDir()
	dir, err := RuntimeDir(xdg, tmp)
	if err != nil || dir != filepath.Join(xdg, "aplomb") {
		t.Errorf("with XDG_RUNTIME_DIR: %s, %v", dir, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	dir, err = RuntimeDir(filepath.Join(xdg, "missing"), tmp)
	if err != nil || filepath.Dir(dir) != tmp {
		t.Errorf("without: %s, %v", dir, err)
	}
	if again, err := RuntimeDir("", tmp); err != nil || again != dir {
		t.Errorf("again: %s, %v", again, err)
	}
	var refused *FolderError
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := RuntimeDir("", tmp); !errors.As(err, &refused) || refused.Hint() == "" {
		t.Errorf("a folder that others can enter: %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(xdg, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := RuntimeDir("", tmp); !errors.As(err, &refused) {
		t.Errorf("a link: %v", err)
	}
}

func TestSocketPath(t *testing.T) {
	data := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	one, err := SocketPath("/run/aplomb", data)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := SocketPath("/run/aplomb", link); err != nil || two != one {
		t.Errorf("through a link: %s, not %s, %v", two, one, err)
	}
	if other, err := SocketPath("/run/aplomb", t.TempDir()); err != nil || other == one {
		t.Errorf("another folder has the same socket, %v", err)
	}
	if _, err := SocketPath("/"+strings.Repeat("x", MaxSocketPath), data); err == nil {
		t.Error("a path that no kernel takes")
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrRunning) {
		t.Errorf("somebody answers: %v", err)
	}
	l.SetUnlinkOnClose(false) // as a daemon that was killed leaves it
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("a file was taken for a socket")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
}
