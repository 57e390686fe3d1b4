package drivers

import (
	"errors"
	"fmt"
)

// The classes of errors: what to do next. Find them with errors.Is; an error
// with none is retried with backoff like ErrRetryable.
var (
	ErrStale       = errors.New("live moved since it was planned") // plan again, at once
	ErrWaiting     = errors.New("not ready")                       // locked or half-written: ask again soon, nothing is wrong
	ErrRetryable   = errors.New("failed for now")                  // again, with backoff
	ErrUnreachable = errors.New("out of reach")                    // the target, not the resource
	ErrDenied      = errors.New("denied")                          // credentials do not allow it: a person must act; retried slowly
	ErrPermanent   = errors.New("refused")                         // will fail again until the declaration changes
)

// ErrSuperseded is the cause of an Apply's context (context.Cause) that ended
// because a newer revision wants the resource otherwise: what was begun is to be
// stopped as gracefully as the engine can. A context that ends for any other
// reason says nothing about what is wanted, and an engine that works on by
// itself may do so.
var ErrSuperseded = fmt.Errorf("a newer revision wants it otherwise: %w", ErrWaiting)

// Error is what a driver's call failed with.
type Error struct {
	Op      string // "write", "start", "read key"
	Subject string // the engine's own address
	Class   error  // one of the classes
	Err     error  // the cause; nil if the class says it all. Never holds a secret.
	Hint    string // for people: what to do

	// Answered says that the engine answered the call: whatever became of it,
	// nothing of it is on its way any more, so Target.Linger need not pass.
	Answered bool
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Subject, e.Class)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Subject, e.Err)
}

// Unwrap gives errors.Is both the class and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

// Class is the class of err; ErrRetryable where it has none.
func Class(err error) error {
	for _, c := range []error{ErrStale, ErrWaiting, ErrUnreachable, ErrDenied, ErrPermanent} {
		if errors.Is(err, c) {
			return c
		}
	}
	return ErrRetryable
}

// Answered says whether an Error in err's tree was Answered.
func Answered(err error) bool {
	var e *Error
	for errors.As(err, &e) {
		if e.Answered {
			return true
		}
		err = e.Err
	}
	return false
}

// HintOf is the hint of the outermost Error in err's tree that has one.
func HintOf(err error) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
