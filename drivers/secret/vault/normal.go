package vault

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// declaredOnly is what lives of the fields that are declared, and no more: a
// field that Vault does not tell is left out, since missing is not zero. What
// means the same as what is declared stands as that.
func declaredOnly(declared, live map[string]any) map[string]any {
	view := map[string]any{}
	for key, want := range declared {
		got, has := live[key]
		switch {
		case !has:
		case same(key, want, got):
			view[key] = want
		default:
			view[key] = got
		}
	}
	return view
}

// same says whether what lives under a key means what is declared: Vault takes
// durations, lists and truth values in several ways, and tells them in its own.
func same(key string, want, live any) bool {
	switch w := want.(type) {
	case []any:
		return sameList(key, w, live)
	case map[string]any:
		return sameMap(w, live)
	case nil:
		return live == nil
	}
	if l, ok := live.([]any); ok {
		return sameText(key, want, l)
	}
	if live == nil {
		return want == ""
	}
	return sameScalar(key, want, live)
}

func sameList(key string, want []any, live any) bool {
	l, ok := live.([]any)
	switch {
	case live == nil:
		return len(want) == 0
	case !ok:
		s, isText := live.(string)
		return isText && sameList(key, want, split(s))
	case len(l) != len(want):
		return policyKey(key) && slices.Equal(sorted(want), sorted(l))
	case policyKey(key):
		return slices.Equal(sorted(want), sorted(l))
	}
	for i := range want {
		if !same(key, want[i], l[i]) {
			return false
		}
	}
	return true
}

// sameText compares a text with a list: it was one element, or several with
// commas between.
func sameText(key string, want any, live []any) bool {
	w, ok := want.(string)
	if !ok {
		return len(live) == 1 && same(key, want, live[0])
	}
	return len(live) == 1 && same(key, want, live[0]) || sameList(key, split(w), live)
}

func split(s string) []any {
	all := []any{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

func sameMap(want map[string]any, live any) bool {
	l, ok := live.(map[string]any)
	if live == nil {
		return len(want) == 0
	}
	if !ok || len(l) != len(want) {
		return false
	}
	for k, w := range want {
		if got, has := l[k]; !has || !same(k, w, got) {
			return false
		}
	}
	return true
}

func sameScalar(key string, want, live any) bool {
	if want == live {
		return true
	}
	w, l := scalar(want), scalar(live)
	if w == l {
		return true // "true" and true, "5" and 5
	}
	if cidrKey(key) && bare(w) == bare(l) {
		return true
	}
	_, wantText := want.(string)
	_, liveText := live.(string)
	if wantText && liveText && !durationKey(key) {
		return false
	}
	a, okA := seconds(w)
	b, okB := seconds(l)
	return okA && okB && a == b
}

func scalar(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case json.Number:
		return x.String()
	case bool:
		return strconv.FormatBool(x)
	}
	return "\x00" // equal to no other
}

// seconds reads a span of time as Vault does: "1h", "90m", "30d", "3600", 3600.
func seconds(s string) (float64, bool) {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return n, !math.IsNaN(n) && !math.IsInf(n, 0)
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		return n * 86400, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	}
	d, err := time.ParseDuration(s)
	return d.Seconds(), err == nil
}

var durationRE = regexp.MustCompile(`(^|_)(ttl|period|duration|leeway|age|interval|window|skew|safety_buffer|expiry|timeout|backdate|after|lifetime)$`)

// durationKey says whether two different texts under a key may be the same
// span of time.
func durationKey(key string) bool { return durationRE.MatchString(key) }

// policyKey says whether a list holds names of policies: Vault sorts them and
// writes them in lower case.
func policyKey(key string) bool { return key == "policies" || strings.HasSuffix(key, "_policies") }

// cidrKey says whether a list holds networks: of those that are one address
// Vault drops the length in some fields, and keeps it in others.
func cidrKey(key string) bool { return strings.HasSuffix(key, "_cidrs") || key == "cidr_list" }

func bare(cidr string) string {
	if strings.Contains(cidr, ":") {
		return strings.TrimSuffix(cidr, "/128")
	}
	return strings.TrimSuffix(cidr, "/32")
}

// sorted is a list of policies as Vault understands it.
func sorted(list []any) []string {
	var all []string
	for _, e := range list {
		all = append(all, strings.ToLower(strings.TrimSpace(scalar(e))))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
