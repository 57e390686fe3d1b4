// Package driverkit is what drivers share beside the contract: how a spec is
// read and compared, how errors of the operating system and of HTTP engines are
// classed, and a lock for each handle. It knows no kind, keeps nothing on disk
// and holds no secret.
package driverkit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/records"
)

// Fail wraps an error of the operating system in a drivers.Error of the class
// that says what to do next. A drivers.Error passes unchanged, nil too.
func Fail(op, subject string, err error) error {
	var known *drivers.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &drivers.Error{Op: op, Subject: subject, Class: drivers.ErrRetryable, Err: err}
	}
	hint, class := classify(err)
	return &drivers.Error{Op: op, Subject: subject, Class: class, Err: cause(err), Hint: hint}
}

func classify(err error) (hint string, class error) {
	switch {
	case errors.Is(err, records.ErrCorrupt):
		return "restore the file from a backup, or delete it to have it made anew", drivers.ErrPermanent
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only", drivers.ErrDenied
	case errors.Is(err, fs.ErrPermission):
		return "let the user that aplomb runs as write there", drivers.ErrDenied
	case escapes(err):
		return "a link in the path leads out of the folder that may be written to", drivers.ErrPermanent
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return "", drivers.ErrPermanent
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on the disk", drivers.ErrRetryable
	default:
		return "", drivers.ErrRetryable
	}
}

// escapes recognises what os.Root answers where a link leads out of it.
func escapes(err error) bool {
	var p *fs.PathError
	if errors.As(err, &p) && p.Err != nil && strings.Contains(p.Err.Error(), "escapes") {
		return true
	}
	var l *os.LinkError
	return errors.As(err, &l) && l.Err != nil && strings.Contains(l.Err.Error(), "escapes")
}

// cause drops the path that the subject says already.
func cause(err error) error {
	if p, ok := err.(*fs.PathError); ok { //nolint:errorlint // only the outermost
		return p.Err
	}
	return err
}

// Refuse is an error that stays until the declaration changes.
func Refuse(op, subject string, err error, hint string) error {
	return &drivers.Error{Op: op, Subject: subject, Class: drivers.ErrPermanent, Err: err, Hint: hint}
}

// Stale is the answer to a change that was planned from another live state.
func Stale(op, subject string) error {
	return &drivers.Error{Op: op, Subject: subject, Class: drivers.ErrStale}
}
