//go:build e2e

package vault

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestFieldsAreVaults: the fields that are known are those of the real Vault's
// own description of its API, all of them and no others.
func TestFieldsAreVaults(t *testing.T) {
	s := newServer(t)
	for _, typ := range []string{"jwt", "approle"} {
		s.put("sys/auth/"+typ, map[string]any{"type": typ})
	}
	for _, typ := range []string{"database", "pki", "transit"} {
		s.put("sys/mounts/"+typ, map[string]any{"type": typ})
	}
	api := s.described(t)
	for place, paths := range map[string][]string{
		"jwt config": {"/auth/jwt/config"}, "jwt role": {"/auth/jwt/role/{name}"}, "approle role": {"/auth/approle/role/{role_name}"},
		"database roles": {"/database/roles/{name}"}, "pki roles": {"/pki/roles/{name}"}, "pki config/urls": {"/pki/config/urls"}, "pki config/crl": {"/pki/config/crl"},
		"pki config/issuers": {"/pki/config/issuers"}, "pki config/cluster": {"/pki/config/cluster"}, "pki config/acme": {"/pki/config/acme"},
		"pki root/generate": {"/pki/" + "root/generate/{exported}"}, "transit keys": {"/transit/keys/{name}", "/transit/keys/{name}/config"}, "transit config/keys": {"/transit/config/keys"},
	} {
		theirs := map[string]bool{}
		for _, p := range paths {
			for name := range api.fields(p) {
				theirs[name] = true
			}
		}
		ours := map[string]bool{}
		for _, w := range strings.Fields(typed[place]) {
			name, _, _ := strings.Cut(w, ":")
			ours[name] = true
		}
		if !maps.Equal(ours, theirs) || len(ours) == 0 {
			t.Errorf("%s: known are %q, and Vault has %q", place, slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(theirs)))
		}
	}
}

// described is what Vault says of its own API.
func (s *server) described(t *testing.T) openAPI {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.root.URL+"/v1/sys/internal/specs/openapi", nil)
	drivertest.Must(t, err)
	token, err := s.root.Token()
	drivertest.Must(t, err)
	req.Header.Set("X-Vault-Token", token.Reveal())
	res, err := http.DefaultClient.Do(req)
	drivertest.Must(t, err)
	defer func() { _ = res.Body.Close() }()
	var api openAPI
	drivertest.Must(t, json.NewDecoder(res.Body).Decode(&api))
	return api
}

type openAPI struct {
	Paths map[string]struct {
		Post struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Ref        string `json:"$ref"`
						Properties map[string]any
					}
				}
			}
		}
	}
	Components struct {
		Schemas map[string]struct{ Properties map[string]any }
	}
}

func (a openAPI) fields(path string) map[string]any {
	s := a.Paths[path].Post.RequestBody.Content["application/json"].Schema
	if s.Ref != "" {
		return a.Components.Schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]].Properties
	}
	return s.Properties
}

// TestIgnoredFieldFails: a field that Vault does not know is told, and does not
// count as applied.
func TestIgnoredFieldFails(t *testing.T) {
	s := newServer(t)
	s.put("sys/auth/approle", map[string]any{"type": "approle"})
	spec := drivertest.JSON(t, fields{"mount": "auth/approle", "fields": fields{"token_ttl": "1h", "wholly_new_thing": "x"}, "secrets": fields{}})
	r := drivertest.NewResource(t, s.driver(), Role, "web", drivers.Desired{Spec: spec})
	c := r.Plan()
	if c.Action != schema.Create {
		t.Fatal(c.Action)
	}
	if _, err := r.Apply(c); !errors.Is(err, drivers.ErrPermanent) || !strings.Contains(err.Error(), "wholly_new_thing") {
		t.Errorf("%v", err)
	}
}
