package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/config"
)

// besideFlags are the flags that say what an environment without a
// configuration is compiled under.
type besideFlags struct {
	templates, policies optional
	values              []string
}

// optional is a flag's text, and whether it was given.
type optional struct {
	text  string
	given bool
}

// String implements pflag.Value.
func (o *optional) String() string { return o.text }

// Type implements pflag.Value.
func (o *optional) Type() string { return "DIR" }

// Set implements pflag.Value.
func (o *optional) Set(text string) error {
	o.text, o.given = text, true
	return nil
}

func (bf *besideFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.Var(&bf.templates, "templates", `folder of templates (default: those that are shipped; "" again)`)
	f.Var(&bf.policies, "policies", `folder of policies ("": none again)`)
	f.StringArrayVar(&bf.values, "value", nil, "KEY=VALUE that templates and policies know of the environment; null forgets it (repeatable)")
}

// given says whether one of them was.
func (bf *besideFlags) given() bool {
	return bf.templates.given || bf.policies.given || len(bf.values) > 0
}

// check finds what is wrong about the flags by themselves, before a data folder
// is made for nothing.
func (bf *besideFlags) check() error { return bf.adopt(&record{}) }

// adopt puts what the flags say into a record.
func (bf *besideFlags) adopt(r *record) error {
	for _, f := range []struct {
		name string
		from optional
		to   *string
	}{{"templates", bf.templates, &r.Templates}, {"policies", bf.policies, &r.Policies}} {
		if !f.from.given {
			continue
		}
		path, err := folderOf(f.name, f.from.text)
		if err != nil {
			return err
		}
		*f.to = path
	}
	if len(bf.values) == 0 {
		return nil
	}
	r.Values = maps.Clone(r.Values)
	if r.Values == nil {
		r.Values = map[string]json.RawMessage{}
	}
	for _, text := range bf.values {
		key, value, err := valueOf(text)
		if err != nil {
			return err
		}
		if r.Values[key] = value; string(value) == "null" {
			delete(r.Values, key)
		}
	}
	return nil
}

// folderOf is the absolute path of a folder that a flag names; "" stays so.
func folderOf(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	st, err := os.Stat(abs)
	switch {
	case err == nil && !st.IsDir():
		return "", hinted{fmt.Errorf("--%s %s: %w: it is a file", flag, path, errNoPath), "name the folder that holds it"}
	case errors.Is(err, os.ErrNotExist):
		return "", hinted{fmt.Errorf("--%s %s: %w", flag, path, errNoPath), "name a folder"}
	case err != nil:
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	return abs, nil
}

// valueOf takes KEY=VALUE apart. A number, a truth value, null or a quoted text
// is what it is in JSON; anything else is a text.
func valueOf(text string) (key string, value json.RawMessage, err error) {
	key, word, ok := strings.Cut(text, "=")
	if !ok || !config.ValidValueName(key) {
		return "", nil, usage("--value region=eu", "--value %q is not KEY=VALUE, with a key of letters, digits and _", text)
	}
	var v any
	if json.Unmarshal([]byte(word), &v) == nil {
		switch v.(type) {
		case nil, bool, float64, string:
			return key, json.RawMessage(strings.TrimSpace(word)), nil
		}
	}
	raw, err := json.Marshal(word)
	return key, raw, err
}
