package consul

import (
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/schema"
)

// normalise does to an entry what the server does before it stores one (the
// Normalize functions of its agent/structs); what is empty is left to words.
func normalise(entry api.ConfigEntry) {
	switch e := entry.(type) {
	case *api.ServiceConfigEntry:
		e.Protocol = strings.ToLower(e.Protocol)
		if e.UpstreamConfig == nil {
			return
		}
		for _, u := range append(e.UpstreamConfig.Overrides, e.UpstreamConfig.Defaults) {
			if u != nil {
				u.Protocol = strings.ToLower(u.Protocol)
			}
		}
	case *api.ServiceIntentionsConfigEntry:
		for _, src := range e.Sources {
			if src == nil {
				continue
			}
			if src.Type == "" {
				src.Type = api.IntentionSourceConsul
			}
			for _, perm := range src.Permissions {
				if perm != nil && perm.HTTP != nil {
					upper(perm.HTTP.Methods)
				}
			}
		}
	}
}

func upper(methods []string) {
	for i, m := range methods {
		methods[i] = strings.ToUpper(m)
	}
}

// bySource orders the sources of an intention as Consul does: by precedence,
// which in one destination is that of the wildcard below that of any name, and
// otherwise as they were.
func bySource(tree map[string]any, unknown map[schema.Path]string) map[schema.Path]string {
	return reorder(tree, "Sources", unknown, func(a, b map[string]any) int {
		return rank(a["Name"]) - rank(b["Name"])
	})
}

func rank(name any) int {
	if name == "*" {
		return 1
	}
	return 0
}

// byCheck orders checks by their ids, which are unique on a node.
func byCheck(tree map[string]any, unknown map[schema.Path]string) map[schema.Path]string {
	return reorder(tree, "Checks", unknown, func(a, b map[string]any) int {
		x, _ := a["CheckID"].(string)
		y, _ := b["CheckID"].(string)
		return strings.Compare(x, y)
	})
}

// reorder sorts a list of objects, stably, and answers where the unknown fields
// are then.
func reorder(tree map[string]any, field string, unknown map[schema.Path]string, compare func(a, b map[string]any) int) map[schema.Path]string {
	list, _ := tree[field].([]any)
	from := make([]int, len(list))
	for i := range from {
		from[i] = i
	}
	slices.SortStableFunc(from, func(i, j int) int {
		a, _ := list[i].(map[string]any)
		b, _ := list[j].(map[string]any)
		return compare(a, b)
	})
	sorted, at := make([]any, len(list)), schema.Path("").Child(field)
	moved := make(map[schema.Path]string, len(unknown))
	for p, text := range unknown {
		if !p.Within(at) || p == at {
			moved[p] = text
		}
	}
	for to, i := range from {
		sorted[to] = list[i]
		for p, text := range unknown {
			if was := at.Index(i); p.Within(was) {
				moved[at.Index(to)+p[len(was):]] = text
			}
		}
	}
	if len(list) > 0 {
		tree[field] = sorted
	}
	return moved
}
