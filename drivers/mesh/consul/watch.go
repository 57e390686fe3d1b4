package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// seen is what the driver last saw of everything that it is asked about, by
// kind and handle: what a watch hears is news only if it differs. The zero value
// is empty and ready.
type seen struct {
	mu    sync.Mutex
	kinds map[string]map[string]sight
	grown chan struct{}       // closed, and made anew, when there is more to watch
	tell  func(handle string) // set while a watch runs
}

// sight is what was seen of one thing.
type sight struct {
	version string // "" is absent
	group   string // of a service: its name, by which it is watched
	busy    bool   // a write of our own is under way: what a watch hears is its echo, most likely
	heard   string // what a watch heard meanwhile
}

// begin notes that a write of our own is under way.
func (s *seen) begin(kind, handle string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, has := s.kinds[kind][handle]; has {
		was.busy, was.heard = true, ""
		s.kinds[kind][handle] = was
	}
}

// end notes that it is no more. What was heard meanwhile and is not what the
// write left is somebody else's.
func (s *seen) end(kind, handle string) {
	s.mu.Lock()
	was, has := s.kinds[kind][handle]
	tell := s.tell
	heard, herr := strconv.ParseUint(was.heard, 10, 64)
	left, lerr := strconv.ParseUint(was.version, 10, 64)
	late := herr == nil && lerr == nil && heard < left // an answer from before the write
	news := has && was.heard != "" && was.heard != was.version && !late
	if has {
		was.busy, was.heard = false, ""
		s.kinds[kind][handle] = was
	}
	s.mu.Unlock()
	if news && tell != nil {
		tell(handle)
	}
}

// listen says whom to tell; nil: nobody.
func (s *seen) listen(tell func(handle string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell = tell
}

func (s *seen) note(it drivers.Item, state drivers.State) {
	if state.Handle == "" || state.Err != nil {
		return
	}
	version, _, _ := strings.Cut(state.Version, "-") // the index alone is what a list tells of an ACL object
	now := sight{version: version}
	if live, ok := state.Raw.(liveService); ok && live.service != nil {
		now.group = live.service.Service
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds == nil {
		s.kinds = map[string]map[string]sight{}
	}
	of := s.kinds[it.ID.Kind]
	if of == nil {
		of = map[string]sight{}
		s.kinds[it.ID.Kind] = of
	}
	was, had := of[state.Handle]
	now.busy, now.heard = was.busy, was.heard
	of[state.Handle] = now
	if (!had || was.group != now.group) && s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
}

// forget notes that something was deleted.
func (s *seen) forget(kind, handle string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kinds[kind], handle)
}

// all is what there is of each kind, and what says that there is more.
func (s *seen) all() (map[string]map[string]sight, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grown == nil {
		s.grown = make(chan struct{})
	}
	out := map[string]map[string]sight{}
	for kind, of := range s.kinds {
		out[kind] = maps.Clone(of)
	}
	return out, s.grown
}

// news answers the handles of a kind, among those that match, whose version is
// not what was last seen, and notes it as seen. now says it for each, as of the
// index at: what was seen at a later one since the question was answered is not
// news. Versions that are no index are later than nothing.
func (s *seen) news(kind string, at uint64, match func(string, sight) bool, now func(handle string) string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var moved []string
	for handle, was := range s.kinds[kind] {
		if seen, err := strconv.ParseUint(was.version, 10, 64); !match(handle, was) || err == nil && seen > at {
			continue
		}
		switch is := now(handle); {
		case was.busy:
			was.heard = is
			s.kinds[kind][handle] = was
		case is != was.version:
			was.version = is
			s.kinds[kind][handle] = was
			moved = append(moved, handle)
		}
	}
	slices.Sort(moved)
	return moved
}

// A blocking query waits this long at Consul, which adds up to a sixteenth.
const waitTime = 5 * time.Minute

// topic is one thing to ask about by blocking queries.
type topic struct {
	name string // distinct
	ask  func(ctx context.Context, query url.Values) (index uint64, moved []string, err error)
	wait time.Duration
}

// Watch asks by blocking queries about what the driver was asked about: one for
// each kind of config entries and of ACL objects, one for each folder of keys,
// some for services. It ends with ctx, or with an error when Consul is out of
// reach.
func (d *Driver) Watch(ctx context.Context, changed func(handles ...string)) error {
	d.setup()
	if d.err != nil {
		return d.err
	}
	w := &watch{d: d, changed: changed, running: map[string]context.CancelFunc{}, failed: make(chan error, 1)}
	c, err := newClient(d.URL, d.Token, driverkit.Transport(mostTopics, d.TLS)) // connections of its own: these are held
	if err != nil {
		return err
	}
	w.client = *c
	d.seen.listen(func(handle string) { changed(handle) })
	defer d.seen.listen(nil)
	ctx, cancel := context.WithCancel(ctx)
	defer w.wg.Wait()
	defer cancel()
	for {
		used, more := d.seen.all()
		w.follow(ctx, w.topics(used))
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-more:
			if !pause(ctx, settleTime) { // more will come
				return nil
			}
		}
	}
}

// settleTime is how long new handles are gathered before they are watched.
const settleTime = 100 * time.Millisecond

// watch is one Watch at work.
type watch struct {
	d       *Driver
	client  client
	changed func(handles ...string)
	running map[string]context.CancelFunc // by name of topic
	failed  chan error
	wg      sync.WaitGroup
}

// follow begins what is new and ends what is no more.
func (w *watch) follow(ctx context.Context, topics []topic) {
	keep := map[string]bool{}
	for _, t := range topics {
		keep[t.name] = true
		if w.running[t.name] != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		w.running[t.name] = cancel
		w.wg.Go(func() { w.listen(own, t) })
	}
	for name, cancel := range w.running {
		if !keep[name] {
			cancel()
			delete(w.running, name)
		}
	}
}

// listen asks about one topic, again and again.
func (w *watch) listen(ctx context.Context, t topic) {
	index, refused := uint64(0), 0
	for ctx.Err() == nil {
		query := url.Values{"index": {strconv.FormatUint(index, 10)}, "wait": {fmt.Sprintf("%ds", int(t.wait.Seconds()))}}
		began := time.Now()
		got, moved, err := t.ask(ctx, query)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, drivers.ErrUnreachable):
			select {
			case w.failed <- err:
			default: // another one said so
			}
			return
		case err != nil: // this topic alone: it may be denied, while others are not
			w.d.Log.WithField("topic", t.name).WithError(err).Debug("a watch was refused")
			refused++
			index = 0
			pause(ctx, min(time.Duration(refused)*time.Second, time.Minute))
			continue
		}
		refused = 0
		if len(moved) > 0 {
			w.changed(moved...)
		}
		if got < index || got == 0 { // Consul was restored, or has nothing to wait for
			if got < index {
				w.changed() // what was seen was of another past
			}
			got = 0
			pause(ctx, time.Second)
		} else if time.Since(began) < 50*time.Millisecond && index != 0 {
			pause(ctx, 50*time.Millisecond) // what moves without end is told of now and then
		}
		index = got
	}
}

// pause waits, and says whether ctx still wants it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d + rand.N(d/4+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// mostTopics is how many blocking queries are open at once. Consul allows 200
// connections a client.
const mostTopics = 48

// topics are what to ask about.
func (w *watch) topics(used map[string]map[string]sight) []topic {
	var all []topic
	for _, kind := range []string{KindDefaults, KindResolver, KindIntentions} {
		if len(used[kind]) > 0 {
			all = append(all, w.entries(kind))
		}
	}
	for _, kind := range []string{KindPolicy, KindRole, KindAuthMethod, KindRule} {
		if len(used[kind]) > 0 {
			all = append(all, w.acl(kind))
		}
	}
	for _, prefix := range prefixes(slices.Collect(maps.Keys(used[KindKV])), mostPrefixes) {
		all = append(all, w.keys(prefix))
	}
	return append(all, w.services(used[KindService])...)
}

func (w *watch) entries(kind string) topic {
	e := &entries{d: &Driver{client: &w.client}, native: strings.TrimPrefix(kind, "consul.")}
	return topic{name: kind, wait: waitTime, ask: func(ctx context.Context, query url.Values) (uint64, []string, error) {
		found, list, err := e.all(ctx, query)
		if err != nil {
			return 0, nil, err
		}
		return list.index, w.d.seen.news(kind, list.index, every, func(handle string) string {
			l, has := found[strings.TrimPrefix(handle, e.native+"/")]
			if !has {
				return ""
			}
			return strconv.FormatUint(l.index, 10)
		}), nil
	}}
}

func (w *watch) acl(kind string) topic {
	sort := w.d.families[kind].(*acl).aclSort
	return topic{name: kind, wait: waitTime, ask: func(ctx context.Context, query url.Values) (uint64, []string, error) {
		var list []struct {
			ID, Name    string
			ModifyIndex uint64
		}
		a, err := w.client.get(ctx, request{op: "watch", subject: sort.all(), path: sort.all(), query: query}, &list)
		if err != nil {
			return 0, nil, err
		}
		now := map[string]string{}
		for _, o := range list {
			key := o.Name
			if sort.given() {
				key = o.ID
			}
			now[sort.prefix()+key] = strconv.FormatUint(o.ModifyIndex, 10)
		}
		return a.index, w.d.seen.news(kind, a.index, every, func(handle string) string { return now[handle] }), nil
	}}
}

func every(string, sight) bool { return true }
