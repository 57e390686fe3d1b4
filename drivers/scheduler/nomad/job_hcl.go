package nomad

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// fromHCL has Nomad parse a file with its variables: file functions are off
// there, and the file was checked for them before.
func (d *Driver) fromHCL(ctx context.Context, p place, s jobSpec, want *drivers.Desired) (desiredJob, error) {
	file, ok := want.Files.Get(s.HCL)
	if !ok {
		return desiredJob{}, driverkit.Refuse("read", p.handle(), fmt.Errorf("the file %s was not handed over", s.HCL), "")
	}
	checked, err := readHCL(s.HCL, file.Data)
	if err != nil {
		return desiredJob{}, driverkit.Refuse("read", p.handle(), err, "")
	}
	vars, err := varsOf(s.Vars)
	if err != nil {
		return desiredJob{}, driverkit.Refuse("read", p.handle(), err, "")
	}
	for at := range want.Unknown {
		if !checked.takesText(at) {
			return desiredJob{}, errUnknown
		}
	}
	text := string(varsText(vars))
	raw, err := d.parse(ctx, p, string(file.Data), text)
	if err != nil && len(want.Unknown) > 0 && errors.Is(err, drivers.ErrPermanent) {
		return desiredJob{}, errUnknown
	}
	if err != nil {
		return desiredJob{}, err
	}
	w := desiredJob{job: &api.Job{}, raw: raw, source: &api.JobSubmission{Source: string(file.Data), Format: "hcl2", Variables: text}}
	if err := json.Unmarshal(raw, w.job); err != nil {
		return w, driverkit.Refuse("parse", p.handle(), err, "")
	}
	return w, nil
}

// parseCache keeps what Nomad made of files: a file with the same variables is
// parsed once. The zero value is ready.
type parseCache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]json.RawMessage
	order [][sha256.Size]byte
}

// mostParsed is how many answers are kept.
const mostParsed = 4096

func (c *parseCache) get(key [sha256.Size]byte) json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[key]
}

func (c *parseCache) put(key [sha256.Size]byte, job json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[[sha256.Size]byte]json.RawMessage{}
	}
	if c.known[key] != nil {
		return
	}
	if len(c.order) >= mostParsed {
		delete(c.known, c.order[0])
		c.order = c.order[1:]
	}
	c.known[key], c.order = job, append(c.order, key)
}

func (d *Driver) parse(ctx context.Context, p place, file, vars string) (json.RawMessage, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%d %s%s", len(file), file, vars))
	if job := d.parsed.get(key); job != nil {
		return job, nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	w, err := d.write(ctx, p.namespace)
	if err != nil {
		return nil, err
	}
	var job json.RawMessage
	_, err = d.client.Raw().Write("/v1/jobs/parse", &api.JobsParseRequest{JobHCL: file, Variables: vars}, &job, w)
	if err != nil {
		return nil, fail("parse", p.handle(), err)
	}
	d.parsed.put(key, job)
	return job, nil
}

// checkJob says what is wrong with a declaration of nomad.job, without I/O.
func (d *Driver) checkJob(p place, want drivers.Desired) error {
	s, err := jobSpecOf(&want, p.handle())
	if err != nil {
		return err
	}
	if s.HCL == "" {
		return d.checkStructure(p, s, want)
	}
	file, ok := want.Files.Get(s.HCL)
	if !ok {
		return nil // that there is none is a finding already
	}
	checked, err := readHCL(s.HCL, file.Data)
	if err == nil {
		err = checked.check(p, s.Vars)
	}
	if err != nil {
		return driverkit.Refuse("read", p.handle(), err, "")
	}
	return nil
}

// checkStructure judges the API's structure; what holds a reference is not
// judged. What it is in plain JSON is kept for planning.
func (d *Driver) checkStructure(p place, s jobSpec, want drivers.Desired) error {
	for at := range want.Unknown {
		if !strings.HasPrefix(string(at), "/job/") {
			return nil
		}
	}
	var only struct{ Job json.RawMessage }
	if err := driverkit.Decode(&want, &only); err != nil {
		return driverkit.Refuse("read", p.handle(), err, "")
	}
	w, err := d.fromStructure(only.Job)
	if err != nil {
		return driverkit.Refuse("read", p.handle(), err, "")
	}
	job := w.job
	if err := settleNames(job, p); err != nil {
		return misnamed(p, err)
	}
	seen := map[string]bool{}
	for i, g := range job.TaskGroups {
		name := value(g.Name)
		if _, open := want.Unknown[schema.Path("/job/TaskGroups").Index(i).Child("Name")]; open {
			continue
		}
		if name == "" || seen[name] {
			return driverkit.Refuse("read", p.handle(), fmt.Errorf("TaskGroups[%d]: a group needs a name of its own", i), "")
		}
		seen[name] = true
	}
	return nil
}
