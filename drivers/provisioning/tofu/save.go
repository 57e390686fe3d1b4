package tofu

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// madePlan is a saved plan and what it says.
type madePlan struct {
	*planned
	outputs map[string]drivers.Output
}

// save runs plan and show, and fills in p.
func (d *Driver) save(ctx context.Context, s *stack, w *workspace, p *plan, sp spec, destroy bool) (*madePlan, error) {
	if err := s.sweep(); err != nil {
		return nil, driverkit.Fail("clean up", s.dir, err)
	}
	p.destroy, p.file = destroy, planPrefix+strings.ToLower(rand.Text())
	if err := s.put(p.file, nil); err != nil { // the tool keeps its mode
		return nil, driverkit.Fail("write", s.dir, err)
	}
	args := []string{"plan", "-input=false", "-json", lockTimeout, "-var-file=" + s.path(varsFile), "-out=" + s.path(p.file)}
	if destroy {
		args = append(args, "-destroy")
	}
	said, err := d.planned(ctx, s, w, p.file, args)
	if err != nil {
		return nil, errors.Join(err, s.remove(p.file))
	}
	made, err := d.read(s, w, sp, said)
	if err != nil {
		return nil, errors.Join(err, s.remove(p.file))
	}
	p.total, p.secrets = made.total, made.secrets
	d.checks.note(s.handle, failedChecks(said.Checks), w.scrubber(d, made.secrets))
	if len(made.deltas) == 0 && !destroy {
		err = s.remove(p.file)
		p.file = ""
	}
	return made, driverkit.Fail("clean up", s.dir, err)
}

// read makes of a plan what is told of it.
func (d *Driver) read(s *stack, w *workspace, sp spec, said *planJSON) (*madePlan, error) {
	m := &masker{fingerprint: d.Fingerprint, tokens: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(w.vars)) { // two may have one value
		if text := sp.SecretVars[name]; schema.HasToken(text) {
			m.tokens[w.vars[name].Reveal()] = text
		}
	}
	for _, text := range w.standIn {
		m.tokens[text] = text
	}
	for name, c := range said.OutputChanges {
		if sp.Outputs[name].Sensitive { // whatever the module says
			c.BeforeSensitive, c.AfterSensitive = true, true
			said.OutputChanges[name] = c
		}
	}
	digest, err := m.digest(said)
	if err != nil {
		return nil, err
	}
	outputs, err := d.promised(s, sp, said)
	return &madePlan{planned: digest, outputs: outputs}, err
}

// planned runs the tool's plan and reads it.
func (d *Driver) planned(ctx context.Context, s *stack, w *workspace, file string, args []string) (*planJSON, error) {
	end, err := d.run(ctx, w.tool, s, w.all(), args...)
	if err != nil {
		return nil, err
	}
	if end.code != 0 {
		return nil, d.failed("plan", s, end, d.hider(ctx, s, w, nil))
	}
	end, err = d.run(ctx, w.tool, s, w.all(), "show", "-json", s.path(file))
	if err != nil {
		return nil, err
	}
	if end.code != 0 {
		return nil, &drivers.Error{Op: "read the plan of", Subject: s.handle, Class: drivers.ErrRetryable, Err: plainError(end, w.scrubber(d, nil))}
	}
	p, err := parsePlan(end.out)
	if err != nil {
		return nil, driverkit.Refuse("read the plan of", s.handle, err, "")
	}
	if p.Errored {
		return nil, &drivers.Error{Op: "plan", Subject: s.handle, Class: drivers.ErrRetryable, Err: fmt.Errorf("the plan is incomplete")}
	}
	return p, nil
}

// promised are the declared outputs as they will be, as far as that is known.
func (d *Driver) promised(s *stack, sp spec, p *planJSON) (map[string]drivers.Output, error) {
	out := map[string]drivers.Output{}
	for name, want := range sp.Outputs {
		c, ok := p.OutputChanges[name]
		if !ok || unknownIn(c.AfterUnknown) || slices.Contains(c.Actions, "delete") {
			continue
		}
		if unknownIn(c.AfterSensitive) && !want.Sensitive {
			return nil, hidden(s.handle, name)
		}
		if kindOf(c.After) != want.Type && want.Type != "any" {
			continue // told by the health once it is so
		}
		text, err := driverkit.Text(c.After)
		if err != nil {
			return nil, err
		}
		if out[name], err = outputOf(text, want.Sensitive, d.Fingerprint); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func hidden(handle, name string) error {
	return driverkit.Refuse("read an output of", handle, fmt.Errorf("the output %s is sensitive in the module and not in spec.outputs", name), "spec.outputs."+name+": {sensitive: true}")
}

// kindOf is the type of a value in the words of spec.outputs.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case json.Number:
		return "number"
	case []any:
		return "list"
	case map[string]any:
		return "map"
	default:
		return "null"
	}
}

// kept are the modules and plans that are still needed.
func (s *stack) kept() ([]string, error) {
	var keep []string
	rec, err := s.record()
	if err != nil {
		return nil, err
	}
	if rec != nil {
		keep = append(keep, rec.Files)
	}
	var b begun
	err = s.load(begunFile, &b)
	if errors.Is(err, fs.ErrNotExist) {
		return keep, nil
	}
	return append(keep, b.Files, b.Plan), err
}

// hasPlan says whether a saved plan is still there.
func (s *stack) hasPlan(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}
