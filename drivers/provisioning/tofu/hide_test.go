package tofu

import (
	"testing"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

func TestSecretsIn(t *testing.T) {
	d := &Driver{Fingerprint: drivertest.Fingerprint}
	got, err := secretsIn([]byte(`{"values":{
		"outputs":{"a":{"sensitive":true,"value":"output-secret"},"b":{"sensitive":false,"value":"plain-output"}},
		"root_module":{
			"resources":[{"values":{"id":"plain-id","key":"root-secret","list":["plain-one","list-secret"]},"sensitive_values":{"key":true,"list":[false,true]}}],
			"child_modules":[{"child_modules":[{"resources":[{"values":{"pw":"deep-secret"},"sensitive_values":{"pw":true}}]}]}]}}}`), d)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range got {
		seen[s.Reveal()] = true
	}
	for _, want := range []string{"output-secret", "root-secret", "list-secret", "deep-secret"} {
		if !seen[want] {
			t.Errorf("%s is not known as secret", want)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d are known as secret", len(seen))
	}
	if _, err := secretsIn([]byte("{"), d); err == nil {
		t.Error("what is no JSON is taken for a state without secrets")
	}
	if got := (&scrubber{mute: true}).scrub("anything"); got != keptBack {
		t.Errorf("told: %s", got)
	}
}
