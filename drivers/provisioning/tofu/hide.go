package tofu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/aplomb-dev/aplomb/schema"
)

// stateJSON is what is read of show -json of a state, and only to know what is
// secret in it.
type stateJSON struct {
	Values struct {
		Outputs map[string]struct {
			Sensitive bool `json:"sensitive"`
			Value     any  `json:"value"`
		} `json:"outputs"`
		Root moduleJSON `json:"root_module"`
	} `json:"values"`
}

type moduleJSON struct {
	Resources []struct {
		Values    any `json:"values"`
		Sensitive any `json:"sensitive_values"`
	} `json:"resources"`
	Children []moduleJSON `json:"child_modules"`
}

// hider is a scrubber for what the tool says of a failure. It knows what the
// state says is sensitive too: what was made in the very run that failed, and
// what is repeated after this process was started again, stands nowhere else.
// Where the state cannot be read nothing of the text is told.
func (d *Driver) hider(ctx context.Context, s *stack, w *workspace, more []schema.Secret) *scrubber {
	known, err := d.stateSecrets(ctx, s, w)
	if err != nil {
		return &scrubber{mute: true}
	}
	return w.scrubber(d, append(known, more...))
}

// stateSecrets are the sensitive values of a state, those of an empty one none.
func (d *Driver) stateSecrets(ctx context.Context, s *stack, w *workspace) ([]schema.Secret, error) {
	if hash, err := s.stateHash(); err != nil || hash == "" {
		return nil, err
	}
	t, err := d.tool(ctx)
	if err != nil {
		return nil, err
	}
	end, err := d.run(ctx, t, s, w.all(), "show", "-json")
	if err != nil {
		return nil, err
	}
	if end.code != 0 {
		return nil, errors.New("the state cannot be shown")
	}
	return secretsIn(end.out, d)
}

// secretsIn are the sensitive values that show -json of a state names.
func secretsIn(data []byte, d *Driver) ([]schema.Secret, error) {
	var state stateJSON
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&state); err != nil {
		return nil, errors.New("the state is no JSON")
	}
	m := &masker{fingerprint: d.Fingerprint}
	for _, o := range state.Values.Outputs {
		m.hide(o.Value, o.Sensitive)
	}
	m.hideModule(state.Values.Root)
	return m.secrets, nil
}

func (m *masker) hideModule(mod moduleJSON) {
	for _, r := range mod.Resources {
		m.hide(r.Values, r.Sensitive)
	}
	for _, child := range mod.Children {
		m.hideModule(child)
	}
}
