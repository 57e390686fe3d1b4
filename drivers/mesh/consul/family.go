package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// family is how one sort of thing is addressed, read, compared and written.
// Its methods are safe for concurrent use.
type family interface {
	// address is a handle, or "" where Consul gives it.
	address(name string, spec json.RawMessage) (string, error)

	// observe answers one State an item, in the same order. An error is that of
	// all of them.
	observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error)

	// want is what is declared, normalised as Consul does, without I/O.
	want(it drivers.Item, live drivers.State) (wanted, error)

	// write creates or updates, and answers what lives then.
	write(ctx context.Context, c drivers.Change, p plan) (drivers.State, error)

	// remove deletes; what is gone already is no error.
	remove(ctx context.Context, c drivers.Change, p plan) error

	// list is everything of the family that carries a mark of aplomb's.
	list(ctx context.Context) ([]drivers.State, error)
}

// wanted is a declaration made ready to be compared and written.
type wanted struct {
	spec     json.RawMessage        // in the words of State.Spec
	unknown  map[schema.Path]string // in spec, which may order lists otherwise than the declaration
	outputs  map[string]drivers.Output
	object   any           // what write takes
	anew     []schema.Path // fields that Consul never alters in place
	extra    []drivers.Delta
	disturbs error // why it must not be applied, whatever the difference
}

// cut takes a family's prefix off a handle.
func cut(handle, prefix string) (string, error) {
	name, ok := strings.CutPrefix(handle, prefix)
	if !ok || name == "" || strings.ContainsAny(name, "\x00\n") {
		return "", driverkit.Refuse("find", handle, fmt.Errorf("no handle that begins with %s", prefix), "")
	}
	return name, nil
}

// named is the field of a spec that gives a name, or else the resource's name.
func named(name string, spec json.RawMessage, field string) (string, error) {
	var words map[string]json.RawMessage
	if err := json.Unmarshal(spec, &words); err != nil {
		return "", driverkit.Refuse("read", name, err, "")
	}
	text, has := words[field]
	if !has {
		return name, nil
	}
	var given string
	if err := json.Unmarshal(text, &given); err != nil || given == "" {
		return "", driverkit.Refuse("read", name, fmt.Errorf("%s is no text", field), "")
	}
	if schema.HasMark(given) {
		return "", driverkit.Refuse("read", name, fmt.Errorf("%s makes up the address, and cannot hold a reference", field), "")
	}
	return given, nil
}

// each observes items one by one, when nothing reads them in bulk.
func each(items []drivers.Item, look func(drivers.Item) (drivers.State, error)) ([]drivers.State, error) {
	states := make([]drivers.State, len(items))
	for i, it := range items {
		s, err := look(it)
		if err != nil {
			if drivers.Class(err) == drivers.ErrUnreachable {
				return nil, err
			}
			s = drivers.State{Err: err}
		}
		if s.Handle == "" {
			s.Handle = it.Handle
		}
		states[i] = s
	}
	return states, nil
}

// output is one that holds a value.
func output(v any) drivers.Output {
	switch v := v.(type) {
	case string:
		if plainText(v) {
			return drivers.Output{Value: json.RawMessage(`"` + v + `"`)}
		}
	case uint64:
		return drivers.Output{Value: strconv.AppendUint(nil, v, 10)}
	}
	text, err := driverkit.Text(v)
	if err != nil { // texts and numbers always marshal
		text = json.RawMessage("null")
	}
	return drivers.Output{Value: text}
}

var errNoObject = errors.New("the spec is no object")

// object reads a spec as a tree that may be altered.
func object(handle string, spec json.RawMessage) (map[string]any, error) {
	tree, err := driverkit.Tree(spec)
	if err != nil {
		return nil, driverkit.Refuse("read", handle, err, "")
	}
	words, ok := tree.(map[string]any)
	if !ok {
		return nil, driverkit.Refuse("read", handle, errNoObject, "")
	}
	return words, nil
}
