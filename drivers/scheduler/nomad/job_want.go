package nomad

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// jobSpec is the spec of nomad.job.
type jobSpec struct {
	ID, Namespace string
	HCL           string          // the file, by its path in the tree
	Vars          json.RawMessage // of the file
	Job           json.RawMessage // or the API's structure
}

func jobSpecOf(want *drivers.Desired, handle string) (jobSpec, error) {
	var s jobSpec
	if err := json.Unmarshal(want.Spec, &s); err != nil {
		return s, driverkit.Refuse("read", handle, err, "")
	}
	if (s.HCL == "") == (len(s.Job) == 0) {
		return s, driverkit.Refuse("read", handle, errors.New("one of hcl and job must be there"), "")
	}
	return s, nil
}

// desiredJob is a job as declared, and the source that Nomad keeps beside it.
type desiredJob struct {
	job    *api.Job
	raw    json.RawMessage // the same, before its names were settled
	source *api.JobSubmission
}

// errUnknown says that something of a job cannot be known before a need is
// applied.
var errUnknown = errors.New("it depends on what is not known yet")

// desired makes the job of a declaration; of an HCL file Nomad itself does, and
// its answer is kept. errUnknown: a field that is not known cannot hold text.
func (d *Driver) desired(ctx context.Context, p place, want *drivers.Desired) (desiredJob, error) {
	s, err := jobSpecOf(want, p.handle())
	if err != nil {
		return desiredJob{}, err
	}
	var w desiredJob
	if s.HCL != "" {
		w, err = d.fromHCL(ctx, p, s, want)
	} else {
		w, err = d.fromStructure(s.Job)
		if err != nil && len(want.Unknown) > 0 {
			return w, errUnknown
		}
		if err != nil {
			err = driverkit.Refuse("read", p.handle(), err, "")
		}
	}
	if err != nil {
		return w, err
	}
	return w, misnamed(p, settleNames(w.job, p))
}

func misnamed(p place, err error) error {
	if err == nil {
		return nil
	}
	return driverkit.Refuse("read", p.handle(), err, "id and namespace of the spec say where a job lives")
}

// settleNames holds a job to its address.
func settleNames(j *api.Job, p place) error {
	if id := value(j.ID); id != "" && id != p.name {
		return fmt.Errorf("the job calls itself %q, and is declared as %q", id, p.name)
	}
	if ns := value(j.Namespace); ns != "" && ns != p.namespace {
		return fmt.Errorf("the job says namespace %q, and is declared in %q", ns, p.namespace)
	}
	if _, taken := j.Meta[Mark]; taken {
		return fmt.Errorf("the key %s in Meta is aplomb's own", Mark)
	}
	j.ID, j.Namespace = &p.name, &p.namespace
	if value(j.Name) == "" {
		j.Name = &p.name
	}
	return nil
}

// fromStructure reads the API's structure. What it says in plain JSON is kept,
// as what Nomad makes of files is.
func (d *Driver) fromStructure(raw json.RawMessage) (desiredJob, error) {
	key := sha256.Sum256(raw)
	plain := d.parsed.get(key)
	if plain == nil {
		var err error
		if plain, err = plainJob(raw); err != nil {
			return desiredJob{}, err
		}
		d.parsed.put(key, plain)
	}
	w := desiredJob{job: &api.Job{}, raw: plain}
	return w, json.Unmarshal(plain, w.job)
}

// plainJob is the API's structure with its durations, which may be texts such
// as "30s", in nanoseconds.
func plainJob(raw json.RawMessage) (json.RawMessage, error) {
	tree, err := driverkit.Tree(raw)
	if err != nil {
		return nil, err
	}
	if tree, err = plainDurations(tree, reflect.TypeFor[api.Job]()); err != nil {
		return nil, err
	}
	return driverkit.Text(tree)
}

// plainDurations makes nanoseconds of the texts that stand where t has a
// duration.
func plainDurations(v any, t reflect.Type) (any, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var err error
	switch x := v.(type) {
	case string:
		if t != reflect.TypeFor[time.Duration]() {
			return v, nil
		}
		span, err := time.ParseDuration(x)
		if err != nil {
			return nil, fmt.Errorf("%q is not a duration such as 30s or 1h30m", clip(x))
		}
		return json.Number(strconv.FormatInt(int64(span), 10)), nil
	case map[string]any:
		for k, e := range x {
			below, ok := elementOf(t, k)
			if !ok {
				continue
			}
			if x[k], err = plainDurations(e, below); err != nil {
				return nil, err
			}
		}
	case []any:
		if t.Kind() != reflect.Slice {
			return v, nil
		}
		for i, e := range x {
			if x[i], err = plainDurations(e, t.Elem()); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// elementOf is the type below a key, as package json finds it.
func elementOf(t reflect.Type, key string) (reflect.Type, bool) {
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), true
	case reflect.Struct:
		below, ok := fieldsOf(t)[strings.ToLower(key)]
		return below, ok
	}
	return nil, false
}

// fieldsOf are the types of a struct's fields by their names in lower case.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := fields.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	all := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if f, ok := t.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, f.Name) }); ok {
			all[strings.ToLower(f.Name)] = f.Type
		}
	}
	fields.Store(t, all)
	return all
}

// fields are the answers of fieldsOf: finding one by its name takes longer than
// reading the value that stands there.
var fields sync.Map
