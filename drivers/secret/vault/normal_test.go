package vault

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestSame holds what is declared against what Vault tells of it.
func TestSame(t *testing.T) {
	for _, c := range []struct {
		key, want, live string
		same            bool
	}{
		{"token_ttl", `"1h"`, `3600`, true},
		{"token_ttl", `"3600"`, `3600`, true},
		{"token_ttl", `3600`, `3600`, true},
		{"token_ttl", `"90m"`, `5400`, true},
		{"max_ttl", `"3d"`, `259200`, true},
		{"token_ttl", `"1h"`, `3601`, false},
		{"token_ttl", `"0"`, `0`, true},
		{"not_before_duration", `"30s"`, `"30s"`, true},
		{"expiry", `"72h"`, `"72h0m0s"`, true},
		{"common_name", `"1h"`, `"60m"`, false},
		{"common_name", `"x"`, `"x"`, true},
		{"allow_subdomains", `true`, `true`, true},
		{"allow_subdomains", `"true"`, `true`, true},
		{"allow_subdomains", `true`, `false`, false},
		{"key_bits", `"2048"`, `2048`, true},
		{"key_bits", `2048.0`, `2048`, true},
		{"allowed_domains", `"a,b"`, `["a","b"]`, true},
		{"allowed_domains", `"a, b"`, `["a","b"]`, true},
		{"allowed_domains", `["a","b"]`, `["b","a"]`, false},
		{"allowed_domains", `["a","b"]`, `"a,b"`, true},
		{"allowed_domains", `"a"`, `["a"]`, true},
		{"allowed_domains", `[]`, `null`, true},
		{"allowed_domains", `""`, `[]`, true},
		{"allowed_domains", `""`, `null`, true},
		{"allowed_domains", `["a"]`, `null`, false},
		{"creation_statements", `"CREATE ROLE a, b;"`, `["CREATE ROLE a, b;"]`, true},
		{"token_policies", `["B","a","a"]`, `["a","b"]`, true},
		{"token_policies", `"b, a"`, `["a","b"]`, true},
		{"token_policies", `["a"]`, `["a","b"]`, false},
		{"token_bound_cidrs", `["10.0.0.1/32"]`, `["10.0.0.1"]`, true},
		{"token_bound_cidrs", `["fe80::1/128"]`, `["fe80::1"]`, true},
		{"token_bound_cidrs", `"10.0.0.1/32,10.1.0.0/16"`, `["10.0.0.1","10.1.0.0/16"]`, true},
		{"secret_id_bound_cidrs", `["10.0.0.1/32"]`, `["10.0.0.1/32"]`, true},
		{"token_bound_cidrs", `["10.0.0.1/31"]`, `["10.0.0.1"]`, false},
		{"bound_claims", `{"a":"1"}`, `{"a":"1"}`, true},
		{"bound_claims", `{"a":"1"}`, `{"a":"1","b":"2"}`, false},
		{"bound_claims", `{}`, `null`, true},
		{"ttl", `"@{kind/name.output}"`, `3600`, false},
		{"ttl", `null`, `0`, false},
	} {
		var want, live any
		mustDecode(t, c.want, &want)
		mustDecode(t, c.live, &live)
		if got := same(c.key, want, live); got != c.same {
			t.Errorf("%s: %s and %s: same is %t", c.key, c.want, c.live, got)
		}
	}
}

func mustDecode(t testing.TB, text string, v any) {
	t.Helper()
	if err := decode(json.RawMessage(text), v); err != nil {
		t.Fatal(err)
	}
}

// TestDeclaredOnly: what is not declared is not compared, and what Vault does
// not tell is not taken for zero.
func TestDeclaredOnly(t *testing.T) {
	var declared, live map[string]any
	mustDecode(t, `{"ttl":"1h","name":"x","write_only":"y"}`, &declared)
	mustDecode(t, `{"ttl":3600,"name":"z","other":1}`, &live)
	got, err := json.Marshal(declaredOnly(declared, live))
	if err != nil || string(got) != `{"name":"z","ttl":"1h"}` {
		t.Errorf("%s %v", got, err)
	}
}

func FuzzSame(f *testing.F) {
	f.Add("token_ttl", `"1h"`, `3600`)
	f.Add("token_policies", `["b","a"]`, `"a,b"`)
	f.Add("token_bound_cidrs", `{"a":[null]}`, `[true]`)
	f.Fuzz(func(t *testing.T, key, a, b string) {
		var x, y any
		if decode(json.RawMessage(a), &x) != nil || decode(json.RawMessage(b), &y) != nil {
			return
		}
		same(key, x, y)
		if !same(key, x, x) && !strings.Contains(a, "null") {
			t.Errorf("%s is not the same as itself", a)
		}
	})
}
