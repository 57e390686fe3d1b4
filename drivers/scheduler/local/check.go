package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Check implements drivers.Checker: what is wrong with a declaration, without
// looking at anything. A field with a reference is not judged.
func (d *Driver) Check(kind, name string, want drivers.Desired) error {
	if kind != Kind {
		return fail("find kind", kind, drivers.ErrPermanent, fmt.Errorf("the local scheduler driver has no kind %q", kind))
	}
	if len(want.Unknown) == 0 && d.plainly(want.Spec) {
		return nil
	}
	t, err := decodeTree(want.Spec)
	if err != nil {
		return fail("read spec", handlePrefix+name, drivers.ErrPermanent, err)
	}
	for p := range want.Unknown {
		standIn(t, p)
	}
	if t, err = parseTree(t.json()); err == nil {
		var s *spec
		if s, err = t.typed(); err == nil {
			err = d.sane(s)
		}
	}
	if err != nil {
		return fail("read spec", handlePrefix+name, drivers.ErrPermanent, err)
	}
	return nil
}

// plainly says whether a spec with all its defaults filled in is good, which
// most are: one reading is enough for that, but not to say what is wrong.
func (d *Driver) plainly(raw json.RawMessage) bool {
	if len(raw) > maxSpec {
		return false
	}
	var s struct {
		spec
		ID string `json:"id"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	return dec.Decode(&s) == nil && !dec.More() && s.valid() == nil && d.sane(&s.spec) == nil
}

// standIn puts a value that is good in the place of one that is not known; the
// text of the reference is good wherever any text is.
func standIn(t tree, p schema.Path) {
	steps := p.Steps()
	switch {
	case steps[0] == "argv" || steps[0] == "env":
	case p == "/check/http":
		t["check"].(map[string]any)["http"] = "http://unknown"
	case p == "/check/tcp":
		t["check"].(map[string]any)["tcp"] = "unknown:1"
	case len(steps) == 1:
		delete(t, steps[0])
	default:
		if below, ok := t[steps[0]].(map[string]any); ok {
			delete(below, steps[1])
		}
	}
}

// sane refuses what could never run, or never be well.
func (d *Driver) sane(s *spec) error {
	for i, a := range s.Argv {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("argv[%d] holds a NUL byte", i)
		}
	}
	for k, v := range s.Env {
		if text, ok := v.(string); ok && strings.ContainsRune(text, 0) {
			return fmt.Errorf("env.%s holds a NUL byte", k)
		}
	}
	if err := s.Check.sane(); err != nil {
		return err
	}
	return d.placed(s.Dir)
}

func (c *check) sane() error {
	switch {
	case c == nil:
		return nil
	case c.TCP != "":
		host, port, err := net.SplitHostPort(c.TCP)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
			return fmt.Errorf("check.tcp: %q is not host:port", c.TCP)
		}
	default:
		if u, err := url.Parse(c.HTTP); err != nil || u.Host == "" {
			return fmt.Errorf("check.http: %q is not a URL with a host", c.HTTP)
		}
	}
	return nil
}
