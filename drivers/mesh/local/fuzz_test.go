package local

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"environment":"e","spec":{"service":"x","address":"127.0.0.1","port":1,"tags":[],"checks":[{"http":"/a?b#c"},{"tcp":true}]}}`))
	f.Add([]byte(`{"format":1,"spec":{"port":1,"checks":[{"http":"http://[::1]:80/%zz"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r record
		if json.Unmarshal(data, &r) != nil || checkRecord("x", &r) != nil {
			return
		}
		if len(r.probes) != len(r.service.Checks) || r.service.Service != "x" || !json.Valid(r.Spec) {
			t.Fatalf("%+v", r)
		}
		again := record{Format: 1, Spec: r.Spec}
		if err := checkRecord("x", &again); err != nil || string(again.Spec) != string(r.Spec) {
			t.Fatalf("%s is not normal: %s, %v", r.Spec, again.Spec, err)
		}
		for _, p := range r.probes {
			if p.timeout < 0 || p.interval < minInterval || p.url != "" && !strings.HasPrefix(p.url, "http") {
				t.Fatalf("%+v", p)
			}
		}
	})
}
