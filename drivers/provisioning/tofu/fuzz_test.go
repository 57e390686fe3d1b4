package tofu

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// FuzzState: whatever else a state holds, what it says is sensitive is known as a
// secret, however deep it lies; and one that is no state is an error or empty.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"values":{"outputs":{"o":{"sensitive":true,"value":["hunter2"]}},"root_module":{"resources":[{"values":{"a":"b"},"sensitive_values":{"a":[true]}}]}}}`), "hunter2", "key")
	f.Add([]byte(`{"values":{"root_module":{"child_modules":[{"child_modules":[{}]}]}}}`), "[secret:x]", "")
	f.Add([]byte(`null`), "\xff\x00", "a\"b")
	d := &Driver{Fingerprint: drivertest.Fingerprint}
	f.Fuzz(func(t *testing.T, data []byte, value, key string) {
		_, _ = secretsIn(data, d)
		var other any
		if json.Unmarshal(data, &other) != nil {
			other = nil
		}
		text, err := json.Marshal(map[string]any{"values": map[string]any{
			"outputs": map[string]any{"other": map[string]any{"value": other}},
			"root_module": map[string]any{"child_modules": []any{map[string]any{"resources": []any{
				map[string]any{"values": other, "sensitive_values": other},
				map[string]any{"values": map[string]any{key: []any{other, value}}, "sensitive_values": map[string]any{key: []any{false, true}}},
			}}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(mustJSON(t, value), &value); err != nil { // as JSON has it
			t.Fatal(err)
		}
		found, err := secretsIn(text, d)
		if err != nil {
			t.Fatal(err)
		}
		if len(value) < 4 || value == known || schema.HasToken(value) {
			return
		}
		if !slices.ContainsFunc(found, func(s schema.Secret) bool { return s.Reveal() == value }) {
			t.Fatalf("%q is not known as a secret in %s", value, text)
		}
	})
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
