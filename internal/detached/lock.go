package detached

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// acquire takes the lock at path, which it makes where it is missing. It is
// held until every copy of the file, inherited ones too, is closed. ErrBusy:
// somebody else has it.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := hold(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// hold locks f, or does nothing where this very open file has the lock.
func hold(f *os.File) error {
	want := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &want)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrBusy
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// held asks whether somebody has the lock at path, without touching it.
func held(path string) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &ask); err != nil {
		return false, &os.PathError{Op: "query lock", Path: path, Err: err}
	}
	return ask.Type != unix.F_UNLCK, nil
}
