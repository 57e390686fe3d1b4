package forge

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// The classes of errors: what to do next. Find them with errors.Is.
var (
	ErrDenied      = errors.New("denied")             // the credentials do not allow it: a person must act
	ErrGone        = errors.New("not there")          // or, as forges say it, not there for these credentials
	ErrLimited     = errors.New("asked too often")    // ask again at RetryAt, not before
	ErrUnreachable = errors.New("out of reach")       // ask again, with backoff
	ErrRefused     = errors.New("refused")            // will fail again until something is changed
	ErrUnsupported = errors.New("not to be had here") // this forge has no such thing
)

// Error is what a call failed with. It never holds a token.
type Error struct {
	Op      string // "list the proposals"; empty below the call itself
	Subject string // the repository, or what of it
	Class   error
	Err     error     // the cause; nil if the class says it all
	Help    string    // for people: what to do
	At      time.Time // ErrLimited: when to ask again
}

func (e *Error) Error() string {
	said := e.Class
	if e.Err != nil {
		said = e.Err
	}
	switch {
	case e.Op == "":
		return said.Error()
	case e.Subject == "":
		return fmt.Sprintf("%s: %v", e.Op, said)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Subject, said)
}

// Unwrap gives errors.Is both the class and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

// Hint says what to do, or nothing.
func (e *Error) Hint() string {
	var below *Error
	if e.Help == "" && errors.As(e.Err, &below) {
		return below.Hint()
	}
	return e.Help
}

// Fail names the call that failed. The class is that of the cause; a cause
// without one did not come from the server's word but from its form: what it
// answered is not what its API promises.
func Fail(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", op, subject, err)
	}
	class := Class(err)
	if class == nil {
		class = ErrUnreachable
	}
	return &Error{Op: op, Subject: subject, Class: class, Err: bare(err), At: RetryAt(err)}
}

// Refuse is an error of class ErrRefused that was found before anybody was
// asked.
func Refuse(op, subject, why, hint string) error {
	return &Error{Op: op, Subject: subject, Class: ErrRefused, Err: errors.New(why), Help: hint}
}

// Class is the class of err, nil where it has none.
func Class(err error) error {
	for _, c := range []error{ErrDenied, ErrGone, ErrLimited, ErrRefused, ErrUnsupported, ErrUnreachable} {
		if errors.Is(err, c) {
			return c
		}
	}
	return nil
}

// RetryAt is when to ask again after ErrLimited; zero: nobody said.
func RetryAt(err error) time.Time {
	var e *Error
	for errors.As(err, &e) {
		if !e.At.IsZero() {
			return e.At
		}
		err = e.Err
	}
	return time.Time{}
}

// bare takes off what net/http and the clients wrap around our own errors:
// method and address, which say nothing to people.
func bare(err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
