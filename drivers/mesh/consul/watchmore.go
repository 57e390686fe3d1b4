package consul

import (
	"context"
	"math"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// mostPrefixes is how many folders of keys are watched at once.
const mostPrefixes = 16

// prefixes are the folders that hold the keys, at most so many: where there are
// more, the deepest give way to their parents. A key at the root is a prefix of
// its own, and the root itself is none: it would be everything. What finds no
// place is not watched, and is seen at the next resync.
func prefixes(handles []string, most int) []string {
	in := map[string]bool{}
	for _, handle := range handles {
		key := strings.TrimPrefix(handle, kvPrefix)
		if dir := path.Dir(key); dir == "." {
			in[key] = true
		} else {
			in[strings.TrimSuffix(key[:strings.LastIndexByte(key, '/')], "/")+"/"] = true
		}
	}
	for len(in) > most {
		deepest := ""
		for p := range in {
			if n := strings.Count(p, "/"); n > 1 && (deepest == "" || n > strings.Count(deepest, "/") || n == strings.Count(deepest, "/") && p < deepest) {
				deepest = p
			}
		}
		if deepest == "" {
			break
		}
		delete(in, deepest)
		in[deepest[:strings.LastIndexByte(deepest[:len(deepest)-1], '/')+1]] = true
	}
	var all []string
	for p := range in {
		all = append(all, p)
	}
	slices.Sort(all)
	all = slices.DeleteFunc(all, func(p string) bool { return covered(p, all) })
	return all[:min(len(all), most)]
}

// covered says whether another folder holds this prefix.
func covered(p string, all []string) bool {
	return slices.ContainsFunc(all, func(o string) bool { return o != p && strings.HasSuffix(o, "/") && strings.HasPrefix(p, o) })
}

// keys watches the keys in a folder, or one key.
func (w *watch) keys(prefix string) topic {
	k := &kvs{d: &Driver{client: &w.client}}
	match := func(handle string, _ sight) bool {
		key := strings.TrimPrefix(handle, kvPrefix)
		return key == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(key, prefix)
	}
	return topic{name: kvPrefix + prefix, wait: waitTime, ask: func(ctx context.Context, query url.Values) (uint64, []string, error) {
		pairs, index, err := k.watched(ctx, prefix, query)
		if err != nil {
			return 0, nil, err
		}
		now := make(map[string]string, len(pairs))
		for _, pair := range pairs {
			now[kvPrefix+pair.Key] = strconv.FormatUint(pair.ModifyIndex, 10)
		}
		return index, w.d.seen.news(KindKV, index, match, func(handle string) string { return now[handle] }), nil
	}}
}

// watched reads a folder or one key, blocking.
func (k *kvs) watched(ctx context.Context, prefix string, query url.Values) ([]*api.KVPair, uint64, error) {
	if strings.HasSuffix(prefix, "/") {
		pairs, list, err := k.below(ctx, prefix, query)
		return pairs, list.index, err
	}
	var pairs []*api.KVPair
	a, err := k.d.client.get(ctx, request{op: "watch", subject: kvPrefix + prefix, path: kvPath(prefix), query: query, also: []int{404}}, &pairs)
	return pairs, a.index, err
}

// mostServices is how many queries about services are open at once.
const mostServices = 16

// services watches the services in use by their names: one answer holds the
// nodes, the services and their checks. Where there are more names than
// queries, a query goes from one to the next.
func (w *watch) services(used map[string]sight) []topic {
	var names []string
	for _, s := range used {
		if s.group != "" {
			names = append(names, s.group)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil
	}
	var all []topic
	for share := range slices.Chunk(names, (len(names)+mostServices-1)/mostServices) {
		all = append(all, w.named(share))
	}
	return all
}

// noIndex is the index of lists whose versions are not indices.
const noIndex = math.MaxUint64

// turnTime is about how long a query takes to go round its names.
const turnTime = 10 * time.Second

// named watches the services of some names, in turn.
func (w *watch) named(share []string) topic {
	t := topic{name: servicePrefix + strings.Join(share, "\n"), wait: waitTime}
	if len(share) > 1 {
		t.wait = max(time.Second, turnTime/time.Duration(len(share)))
	}
	indices, turn := map[string]uint64{}, 0
	t.ask = func(ctx context.Context, query url.Values) (uint64, []string, error) {
		name := share[turn%len(share)]
		turn++
		query.Set("index", strconv.FormatUint(indices[name], 10))
		var found []struct {
			Node    *api.Node
			Service *api.AgentService
			Checks  []*api.HealthCheck
		}
		r := request{op: "watch", subject: "the service " + name, path: "health/service/" + url.PathEscape(name), query: query}
		a, err := w.client.get(ctx, r, &found)
		if err != nil {
			return 0, nil, err
		}
		indices[name] = a.index
		now := map[string]string{}
		for _, f := range found {
			if f.Node != nil && f.Service != nil {
				n := onNode{node: f.Node, services: []*api.AgentService{f.Service}, checks: f.Checks}
				now[place{f.Node.Node, f.Service.ID}.handle()] = n.of(f.Service.ID).version()
			}
		}
		ours := func(_ string, s sight) bool { return s.group == name }
		return a.index, w.d.seen.news(KindService, noIndex, ours, func(handle string) string { return now[handle] }), nil
	}
	if len(share) > 1 { // each has an index of its own
		ask := t.ask
		t.ask = func(ctx context.Context, query url.Values) (uint64, []string, error) {
			_, moved, err := ask(ctx, query)
			return 1, moved, err
		}
	}
	return t
}
