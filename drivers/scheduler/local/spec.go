package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/internal/detached"
)

// Kind is the one kind that this driver serves.
const Kind = "local.process"

// Limits of a spec.
const (
	MaxCount  = 1000
	MaxKeep   = 1000    // rotated files
	MaxSize   = 1 << 20 // MiB of one log file
	maxSpec   = 1 << 20 // bytes of JSON
	maxPeriod = 366 * 24 * time.Hour
)

// The types of a process.
const (
	service = "service"
	batch   = "batch"
)

// spec is the spec of a local.process.
type spec struct {
	Argv    arguments      `json:"argv"`
	Env     map[string]any `json:"env"` // string, json.Number or bool; a secret as its token
	Dir     string         `json:"dir"`
	Count   int            `json:"count"`
	Type    string         `json:"type"`
	Check   *check         `json:"check"`
	Restart struct {
		Delay    period `json:"delay"`
		MaxDelay period `json:"maxDelay"`
	} `json:"restart"`
	Update struct {
		Parallel int `json:"parallel"`
	} `json:"update"`
	Stop struct {
		Signal string `json:"signal"`
		Grace  period `json:"grace"`
	} `json:"stop"`
	Logs struct {
		MaxSize int `json:"maxSize"` // MiB
		Keep    int `json:"keep"`
	} `json:"logs"`
}

// check is how the health of a process is asked for.
type check struct {
	HTTP     string `json:"http"`
	TCP      string `json:"tcp"`
	Interval period `json:"interval"`
	Timeout  period `json:"timeout"`
}

func (s *spec) stop() detached.Stop {
	return detached.Stop{Signal: s.Stop.Signal, Grace: time.Duration(s.Stop.Grace)}
}

// defaults are those of the schema, for a spec that did not come through it.
const defaults = `{"env":{},"count":1,"type":"service","restart":{"delay":"1s","maxDelay":"1m"},
	"update":{"parallel":1},"stop":{"signal":"TERM","grace":"10s"},"logs":{"maxSize":10,"keep":3}}`

const checkDefaults = `{"interval":"1s","timeout":"2s"}`

// tree is a spec as JSON: compared field by field, and able to hold a
// reference's text where a number will be.
type tree map[string]any

// parseTree reads a spec, fills in defaults and leaves out the id, which is
// the handle's.
func parseTree(raw json.RawMessage) (tree, error) {
	if len(raw) > maxSpec {
		return nil, fmt.Errorf("a spec of %d bytes (at most %d)", len(raw), maxSpec)
	}
	t, err := decodeTree(raw)
	if err != nil {
		return nil, err
	}
	delete(t, "id")
	base, err := decodeTree([]byte(defaults))
	if err != nil {
		return nil, err
	}
	fill(t, base)
	if c, ok := t["check"].(map[string]any); ok {
		if base, err = decodeTree([]byte(checkDefaults)); err != nil {
			return nil, err
		}
		fill(c, base)
	}
	return t, nil
}

func decodeTree(raw []byte) (tree, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var t map[string]any
	if err := dec.Decode(&t); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || t == nil {
		return nil, errors.New("it is not one JSON object")
	}
	return t, nil
}

// fill adds to t what only base has.
func fill(t, base map[string]any) {
	for k, v := range base {
		has, ok := t[k]
		if !ok || has == nil {
			t[k] = v
			continue
		}
		if b, ok := v.(map[string]any); ok {
			if m, ok := has.(map[string]any); ok {
				fill(m, b)
			}
		}
	}
}

// json is the tree as canonical JSON.
func (t tree) json() json.RawMessage {
	b, err := json.Marshal(map[string]any(t))
	if err != nil {
		panic(err) // what came out of JSON goes back into it
	}
	return b
}

// typed is the tree as a spec; an error says what does not fit.
func (t tree) typed() (*spec, error) {
	dec := json.NewDecoder(bytes.NewReader(t.json()))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	s := &spec{}
	if err := dec.Decode(s); err != nil {
		return nil, err
	}
	return s, s.valid()
}

func (s *spec) valid() error {
	switch {
	case len(s.Argv) == 0 || s.Argv[0] == "":
		return errors.New("argv: nothing to run")
	case s.Count < 0 || s.Count > MaxCount:
		return fmt.Errorf("count: %d is not in 0 to %d", s.Count, MaxCount)
	case s.Type != service && s.Type != batch:
		return fmt.Errorf("type: %q is neither service nor batch", s.Type)
	case s.Update.Parallel < 1:
		return fmt.Errorf("update.parallel: %d is not positive", s.Update.Parallel)
	case s.Logs.MaxSize < 1 || s.Logs.MaxSize > MaxSize:
		return fmt.Errorf("logs.maxSize: %d is not in 1 to %d MiB", s.Logs.MaxSize, MaxSize)
	case s.Logs.Keep < 0 || s.Logs.Keep > MaxKeep:
		return fmt.Errorf("logs.keep: %d is not in 0 to %d", s.Logs.Keep, MaxKeep)
	case !strings.Contains(" TERM INT HUP QUIT USR1 USR2 KILL ", " "+s.Stop.Signal+" "):
		return fmt.Errorf("stop.signal: %q is not one of TERM INT HUP QUIT USR1 USR2 KILL", s.Stop.Signal)
	}
	for k, v := range s.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") {
			return fmt.Errorf("env: %q cannot be a variable's name", k)
		}
		if strings.HasPrefix(k, "APLOMB_") {
			return fmt.Errorf("env.%s: names that begin with APLOMB_ are given to the process, not declared", k)
		}
		if _, err := text(v); err != nil {
			return fmt.Errorf("env.%s: %w", k, err)
		}
	}
	return s.Check.valid()
}

func (c *check) valid() error {
	switch {
	case c == nil:
		return nil
	case (c.HTTP == "") == (c.TCP == ""):
		return errors.New("check: wants http or tcp, one of them")
	case c.Interval <= 0 || c.Timeout <= 0:
		return errors.New("check: interval and timeout must be positive")
	}
	return nil
}

// text is a scalar as it stands in an environment.
func text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return plain(v.String()), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("it is neither string, number nor bool")
}

// plain is a number as people write it: without an exponent.
func plain(number string) string {
	if !strings.ContainsAny(number, "eE") {
		return number
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return number
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// arguments are those of a program: scalars, as text.
type arguments []string

// UnmarshalJSON reads a list of scalars.
func (a *arguments) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var list []any
	if err := dec.Decode(&list); err != nil {
		return fmt.Errorf("argv: %w", err)
	}
	*a = nil
	for i, v := range list {
		s, err := text(v)
		if err != nil {
			return fmt.Errorf("argv[%d]: %w", i, err)
		}
		*a = append(*a, s)
	}
	return nil
}

// runFields are the fields that a running instance was started with: to change
// one of them is to start it anew. All others take effect without.
var runFields = []string{"argv", "env", "dir"}

// part is the run fields of t, alone.
func (t tree) part() tree {
	p := tree{}
	for _, f := range runFields {
		if v, ok := t[f]; ok {
			p[f] = v
		}
	}
	return p
}

// with is t with the run fields of another.
func (t tree) with(part tree) tree {
	w := tree{}
	for k, v := range t {
		w[k] = v
	}
	for _, f := range runFields {
		delete(w, f)
		if v, ok := part[f]; ok {
			w[f] = v
		}
	}
	return w
}

// hash names what is run; secrets count by their tokens.
func (t tree) hash() string {
	sum := sha256.Sum256(t.part().json())
	return hex.EncodeToString(sum[:16])
}

// period is a duration of a declaration: 500ms, 10s, 5m, 2h, 7d.
type period time.Duration

// UnmarshalJSON reads a period.
func (p *period) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	d, err := parsePeriod(s)
	*p = period(d)
	return err
}

func parsePeriod(s string) (time.Duration, error) {
	digits := strings.TrimRight(s, "mshd")
	unit, known := map[string]time.Duration{
		"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	}[s[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || !known {
		return 0, fmt.Errorf("%q is not a duration such as 500ms, 10s, 5m, 2h or 7d", s)
	}
	if time.Duration(n) > maxPeriod/unit {
		return 0, fmt.Errorf("%q is longer than a year", s)
	}
	return time.Duration(n) * unit, nil
}
