package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// MaxSocketPath is the length in bytes of the longest path that every kernel
// takes for a unix socket.
const MaxSocketPath = 103

// DialTimeout bounds connecting to the socket.
const DialTimeout = 2 * time.Second

// FolderError is a runtime folder that others could reach into.
type FolderError struct {
	Path, Why string
}

func (e *FolderError) Error() string {
	return fmt.Sprintf("runtime folder %s: %s", e.Path, e.Why)
}

// Hint says what to do about it.
func (e *FolderError) Hint() string {
	return "remove it, or point XDG_RUNTIME_DIR at a folder of your own with mode 0700"
}

// RuntimeDir is the folder for sockets: aplomb inside xdg (the value of
// XDG_RUNTIME_DIR) where that is a folder, else aplomb-UID in tmp. It is made
// where it is missing, and refused where it is not a folder of this user's
// that nobody else can enter.
func RuntimeDir(xdg, tmp string) (string, error) {
	dir := filepath.Join(tmp, "aplomb-"+strconv.Itoa(os.Getuid()))
	if st, err := os.Stat(xdg); filepath.IsAbs(xdg) && err == nil && st.IsDir() {
		dir = filepath.Join(xdg, "aplomb")
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make runtime folder: %w", err)
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("runtime folder: %w", err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.IsDir():
		return "", &FolderError{dir, "is not a folder"}
	case !ok || int(sys.Uid) != os.Getuid():
		return "", &FolderError{dir, "belongs to somebody else"}
	case st.Mode().Perm()&0o077 != 0:
		return "", &FolderError{dir, fmt.Sprintf("has mode %04o, others can enter it", st.Mode().Perm())}
	}
	return dir, nil
}

// SocketPath is where the daemon of a data folder listens: a short hash of the
// folder's absolute path without symbolic links.
func SocketPath(runtimeDir, data string) (string, error) {
	abs, err := filepath.Abs(data)
	if err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	sum := sha256.Sum256([]byte(abs))
	path := filepath.Join(runtimeDir, hex.EncodeToString(sum[:8])+".sock")
	if len(path) > MaxSocketPath {
		return "", &FolderError{runtimeDir, fmt.Sprintf("is too long a path for a socket (%d bytes, at most %d)", len(path), MaxSocketPath)}
	}
	return path, nil
}

// Listen takes the socket at path. The caller holds the lock of the data
// folder: what is left there by a daemon that was killed is removed. If
// something answers nevertheless, the error is ErrRunning.
func Listen(path string) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, DialTimeout); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, ErrRunning)
	} else if st, serr := os.Lstat(path); serr == nil {
		if st.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("listen on %s: it exists and is not a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove stale socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("protect socket: %w", err)
	}
	return l, nil
}
