package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// Role is what somebody may do; each may do what those before it may.
type Role int

// The roles. Nobody is who shows no token.
const (
	Nobody   Role = iota
	Viewer        // reads
	Proposer      // proposes changes of declarations
	Approver      // approves, suspends, resumes
	Operator      // rolls back, takes down, asks for a turn
)

var roles = []string{"nobody", "viewer", "proposer", "approver", "operator"}

// String is the role's name in a configuration.
func (r Role) String() string { return roles[r] }

// ParseRole reads the name of a role that somebody can have.
func ParseRole(name string) (Role, error) {
	if i := slices.Index(roles, name); i > 0 {
		return Role(i), nil
	}
	return Nobody, fmt.Errorf("%q is not one of viewer, proposer, approver, operator", name)
}

// Who may not ask, for errors.Is.
var (
	ErrToken   = errors.New("no valid token")
	ErrRole    = errors.New("the role does not allow it")
	ErrTooMany = errors.New("too many wrong tokens")
)

// denied is one of these with what to do about it.
type denied struct {
	error
	hint string
}

func (d denied) Unwrap() error { return d.error }

// Hint says what to do about it.
func (d denied) Hint() string { return d.hint }

// Token is what proves that somebody is who they say they are.
type Token struct {
	Name  string
	Role  Role
	Value schema.Secret
	Teams []string // that they speak for where they approve
}

// Tokens knows people and programs by their tokens. The zero value knows
// nobody; methods are safe for concurrent use.
type Tokens struct {
	mu    sync.RWMutex
	known []known
}

// known is a token of which only a hash is kept.
type known struct {
	name  string
	role  Role
	sum   [sha256.Size]byte
	teams []string
}

// Set replaces all tokens.
func (t *Tokens) Set(all []Token) {
	var next []known
	for _, k := range all {
		next = append(next, known{k.Name, k.Role, sha256.Sum256([]byte(k.Value.Reveal())), k.Teams})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = next
}

// find is whose token it is. It takes the same time for every token that is
// none: hashes are compared, in constant time and with all that are known.
func (t *Tokens) find(token string) (caller, bool) {
	sum := sha256.Sum256([]byte(token))
	t.mu.RLock()
	defer t.mu.RUnlock()
	at := -1
	for i := range t.known {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], t.known[i].sum[:]), i, at)
	}
	if at < 0 {
		return caller{}, false
	}
	k := t.known[at]
	return caller{name: k.name, role: k.role, teams: k.teams}, true
}

// caller is who asks.
type caller struct {
	name string // of a token
	peer *peer  // at the other end of a unix socket
	role Role

	teams []string // of a token
}

// speaks are the owners that who asks speaks for. Whoever is at the other end of
// a unix socket speaks for none: an account of this machine is nobody's name
// elsewhere.
func (c caller) speaks() []string {
	if c.peer != nil || c.name == "" {
		return nil
	}
	return append([]string{"@" + c.name}, c.teams...)
}

// by is the name that is kept of a lever. A name that a request gives is only
// added to what the kernel says; a token's own name is all there is to say.
func (c caller) by(given string) string {
	switch {
	case c.peer == nil && c.name != "":
		return c.name
	case c.peer == nil:
		return given
	}
	name := c.peer.name()
	if given == "" || given == name {
		return name
	}
	return name + " (as " + given + ")"
}

// means are by which a lever is pulled.
func (c caller) means() reconciler.Means {
	if c.peer != nil {
		return reconciler.MeansSocket
	}
	return reconciler.MeansToken
}

// callerOf finds out who asks. Who shows no token is nobody, which is no error;
// a wrong one is.
func (s *Server) callerOf(r *http.Request) (caller, error) {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		if err := p.admit(os.Getuid()); err != nil {
			return caller{}, err
		}
		return caller{peer: &p, role: Operator}, nil
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		return caller{}, nil
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	if !s.wrong.allowed(from, time.Now()) {
		return caller{}, denied{ErrTooMany, "wait a minute"}
	}
	if s.Tokens != nil {
		if c, ok := s.Tokens.find(strings.TrimSpace(token)); ok {
			return c, nil
		}
	}
	s.wrong.failed(from, time.Now())
	if s.Wrong != nil {
		s.Wrong(from)
	}
	return caller{}, denied{ErrToken, "this daemon knows no such token; was it replaced?"}
}

type callerKey struct{}

// from is who asks, of a request that guard let through.
func from(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// guard answers those only whose role is least or a greater one.
func (s *Server) guard(least Role, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.callerOf(r)
		switch {
		case least == Nobody && !errors.Is(err, ErrPeer):
			err = nil // a wrong token is as good as none
		case err != nil:
		case c.role == Nobody && least > Nobody:
			err = denied{fmt.Errorf("%w was shown", ErrToken), "send the header Authorization: Bearer TOKEN; the command line: --token-file"}
		case c.role < least:
			err = denied{fmt.Errorf("%w: %s is %s, and this takes %s", ErrRole, c.name, c.role, least), "ask somebody with that role, or whoever keeps the daemon's configuration"}
		}
		if err != nil {
			writeError(w, err)
			return
		}
		h(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	}
}

// near says whether a request cannot come from another machine: it came over
// the unix socket, or to a loopback address.
func near(r *http.Request) bool {
	if _, ok := r.Context().Value(peerKey{}).(peer); ok {
		return true
	}
	a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// Wrong tokens that are borne with, from one address, in so much time.
const (
	MostWrong   = 20
	WrongWindow = time.Minute
)

// mostAddresses bounds what is remembered of who showed wrong tokens.
const mostAddresses = 1024

// attempts counts wrong tokens by where they come from. The zero value is
// ready; methods are safe for concurrent use.
type attempts struct {
	mu  sync.Mutex
	all map[string]window
}

type window struct {
	since time.Time
	n     int
}

// allowed says whether a token from there is looked at.
func (a *attempts) allowed(from string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.all[from]
	return !ok || w.n < MostWrong || now.Sub(w.since) >= WrongWindow
}

// failed counts a wrong one.
func (a *attempts) failed(from string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil {
		a.all = map[string]window{}
	}
	w := a.all[from]
	if now.Sub(w.since) >= WrongWindow {
		w = window{since: now}
	}
	w.n++
	a.all[from] = w
	if len(a.all) > mostAddresses {
		oldest := from
		for k, v := range a.all {
			if v.since.Before(a.all[oldest].since) {
				oldest = k
			}
		}
		delete(a.all, oldest)
	}
}
