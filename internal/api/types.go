package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// Limits of what is read from the other side.
const (
	MaxRequest   = 1 << 20   // bytes of a request's body
	MaxResponse  = 256 << 20 // bytes of an answer, streams excepted
	MaxEvent     = 1 << 20   // bytes of one event
	MaxWhy       = 4096      // bytes of the reason that a person gives
	MaxOverrides = 100       // policies that one approval overrides
	MaxLimit     = 10_000    // records of one answer
	MaxWait      = time.Minute
)

// Info is who answers.
type Info struct {
	Version       string         `json:"version"`
	PID           int            `json:"pid"`
	Data          string         `json:"data"` // absolute path of the data folder
	Started       time.Time      `json:"started"`
	Configuration *Configuration `json:"configuration,omitempty"` // of aplomb run
}

// Configuration is how a daemon's configuration does.
type Configuration struct {
	Path     string              `json:"path"`
	At       time.Time           `json:"at"` // when the one in force came into force
	OK       bool                `json:"ok"` // false: the file holds another one, which is refused
	Error    string              `json:"error,omitempty"`
	Hint     string              `json:"hint,omitempty"`
	Findings []schema.Diagnostic `json:"findings,omitempty"`
	Since    time.Time           `json:"since,omitzero"` // when it was refused first
}

// EnvironmentInfo is one environment in short.
type EnvironmentInfo struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Data    string    `json:"data"`             // absolute path of its data folder
	Source  string    `json:"source"`           // path or URL that is followed
	Started time.Time `json:"started,omitzero"` // when it was opened last
	Open    bool      `json:"open"`
	Error   string    `json:"error,omitempty"` // why it is not open
	Hint    string    `json:"hint,omitempty"`
	Since   time.Time `json:"since,omitzero"` // not open since
	Next    time.Time `json:"next,omitzero"`  // opened again then

	Converged bool                     `json:"converged"`
	Counts    map[reconciler.State]int `json:"counts,omitempty"`
	Revision  sources.Revision         `json:"revision,omitzero"` // in force
}

// Service is one entry of the service catalog.
type Service struct {
	Name    string         `json:"name"`
	Address string         `json:"address"`
	Port    int            `json:"port"`
	Tags    []string       `json:"tags,omitempty"`
	Passing bool           `json:"passing"` // every check passes
	Checks  []ServiceCheck `json:"checks,omitempty"`
}

// ServiceCheck is one check of a Service and its last result.
type ServiceCheck struct {
	Check   string    `json:"check"`
	Passing bool      `json:"passing"`
	Reason  string    `json:"reason,omitempty"` // why it does not pass
	At      time.Time `json:"at,omitzero"`      // zero: it has not run yet
}

// LogsQuery asks for what the processes of a resource wrote.
type LogsQuery struct {
	ID       schema.ID
	Instance *int // counts from 0; nil: every instance
	Lines    int  // the last ones of what was written before; 0: none
	Follow   bool // go on until the request ends
	JSON     bool // a LogLine a line instead of text
}

// LogLine is one line that an instance wrote.
type LogLine struct {
	Instance int    `json:"instance"`
	Text     string `json:"text"`
}

// lever is the body of every request that changes something. Each route uses
// the fields that it documents.
type lever struct {
	By       string      `json:"by"`
	Why      string      `json:"why,omitempty"`
	Digest   string      `json:"digest,omitempty"`
	Override []string    `json:"override,omitempty"` // policies, by name
	Outside  bool        `json:"outside,omitempty"`  // the windows
	ID       *schema.ID  `json:"id,omitempty"`
	Revision string      `json:"revision,omitempty"`
	Also     []schema.ID `json:"also,omitempty"`
	Title    string      `json:"title,omitempty"`
	Set      []SetValue  `json:"set,omitempty"`
}

// decodeLever reads one JSON object and nothing after it; unknown fields are
// refused, so that a misspelled one is not taken for "everything".
func decodeLever(r io.Reader) (lever, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxRequest+1))
	if err != nil {
		return lever{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if len(b) > MaxRequest {
		return lever{}, fmt.Errorf("%w: more than %d bytes", ErrRequest, MaxRequest)
	}
	var l lever
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return lever{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return lever{}, fmt.Errorf("%w: something follows the object", ErrRequest)
	}
	switch {
	case l.By == "":
		return lever{}, fmt.Errorf("%w: %q is missing", ErrRequest, "by")
	case len(l.By) > 256 || len(l.Why) > MaxWhy || len(l.Title) > MaxWhy || len(l.Override) > MaxOverrides:
		return lever{}, fmt.Errorf("%w: by, why, title or override is too long", ErrRequest)
	case l.ID != nil && *l.ID == (schema.ID{}):
		return lever{}, fmt.Errorf("%w: id is empty; leave it out to mean the environment", ErrRequest)
	}
	return l, nil
}
