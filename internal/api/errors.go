package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// What goes wrong with the API itself, for errors.Is.
var (
	ErrNotRunning = errors.New("no daemon answers")             // nothing listens on the socket
	ErrRunning    = errors.New("a daemon answers already")      // the socket is taken
	ErrRequest    = errors.New("the request is malformed")      // it will never be answered otherwise
	ErrNotSet     = errors.New("the declaration is not edited") // as it is, or for what is wanted
	ErrNotServed  = errors.New("this daemon does not do that")  // an older daemon, or one without that layer
)

// Error is an error as it travels: a stable code, a message for people and
// what to do about it. errors.Is finds the sentinel that the code stands for.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	HintMsg string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Hint says what to do about it, for people.
func (e *Error) Hint() string { return e.HintMsg }

// Unwrap is the sentinel of the code; nil where it has none.
func (e *Error) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Code {
			return c.err
		}
	}
	return nil
}

// CodeInternal is the code of an error that no sentinel stands for.
const CodeInternal = "internal"

// codes is every code, its sentinel and its HTTP status.
var codes = []struct {
	code   string
	err    error
	status int
}{
	{"unknown-resource", reconciler.ErrUnknown, http.StatusNotFound},
	{"unknown-digest", reconciler.ErrDigest, http.StatusConflict},
	{"unknown-revision", reconciler.ErrNoRevision, http.StatusNotFound},
	{"refused", reconciler.ErrRefused, http.StatusForbidden},
	{"not-set", ErrNotSet, http.StatusUnprocessableEntity},
	{"bad-request", ErrRequest, http.StatusBadRequest},
	{"another-user", ErrPeer, http.StatusForbidden},
	{"no-token", ErrToken, http.StatusUnauthorized},
	{"not-allowed", ErrRole, http.StatusForbidden},
	{"too-many", ErrTooMany, http.StatusTooManyRequests},
	{"unknown-environment", ErrEnvironment, http.StatusNotFound},
	{"not-open", ErrNotOpen, http.StatusServiceUnavailable},
	{"not-served", ErrNotServed, http.StatusNotImplemented},
	{"timeout", context.DeadlineExceeded, http.StatusGatewayTimeout},
	{"cancelled", context.Canceled, 499},
}

// Code is the stable code of an error.
func Code(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return CodeInternal
}

// HintOf is what an error says is to be done about it: the hint of the
// outermost error in its tree that has a Hint method, or of a drivers.Error.
func HintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		return h.Hint()
	}
	return drivers.HintOf(err)
}

// Envelope is err as it travels.
func Envelope(err error) *Error {
	return &Error{Code: Code(err), Message: err.Error(), HintMsg: HintOf(err)}
}

type errorBody struct {
	Error *Error `json:"error"`
}

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	for _, c := range codes {
		if errors.Is(err, c.err) {
			status = c.status
			break
		}
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, status, errorBody{Envelope(err)})
}

// writeJSON answers v. An answer that breaks off is the client's to notice:
// its length is wrong then.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status = http.StatusInternalServerError
		b = []byte(`{"error":{"code":"internal","message":"the answer cannot be written as JSON"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
