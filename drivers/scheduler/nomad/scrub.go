package nomad

import (
	"errors"
	"net/http"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
)

// scrubbed is an error of a request that held secrets. What the engine says may
// repeat them, in whatever encoding, so that of an answer only its status and
// what is known to be harmless is kept.
func scrubbed(err error, items map[string]string) error {
	if err == nil || isConflict(err) || len(items) == 0 {
		return err
	}
	var answer api.UnexpectedResponseError
	if !errors.As(err, &answer) || !answer.HasStatusCode() {
		return err // of the connection: a body is never in it
	}
	status := answer.StatusCode()
	said := errors.New(orElse(http.StatusText(status), "an unknown status"))
	class := drivers.ErrPermanent
	switch {
	case status == http.StatusForbidden:
		class = drivers.ErrDenied
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError && !lasting.MatchString(answer.Body()):
		class = drivers.ErrRetryable
	}
	return &drivers.Error{Op: "write", Subject: "variable", Class: class, Err: said, Answered: true, Hint: "what Nomad said may hold secrets, and is not repeated"}
}
