package webhook

import "sync"

// maxSeen is how many deliveries are remembered. One that comes again later
// costs one look.
const maxSeen = 4096

// seen remembers the ids of the last deliveries. Its zero value is empty.
type seen struct {
	mu   sync.Mutex
	ids  map[string]bool
	ring [maxSeen]string
	next int
}

// before says whether an id was there before, and remembers it. An empty one,
// or one longer than any forge's, is always new.
func (s *seen) before(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[id] {
		return true
	}
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	delete(s.ids, s.ring[s.next])
	s.ids[id], s.ring[s.next] = true, id
	s.next = (s.next + 1) % maxSeen
	return false
}
