package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// certificate is a certificate for 127.0.0.1, and who trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}
}

// token is a way to show a token.
func token(value string) func() (schema.Secret, error) {
	return func() (schema.Secret, error) { return schema.NewSecret(value), nil }
}

// overTCP serves over TLS, and answers an address without a token.
func overTCP(t *testing.T, s *Server) Address {
	t.Helper()
	mine, theirs := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, s, TLS(l, func() *tls.Config { return mine })))
	return Address{URL: "https://" + l.Addr().String(), TLS: theirs}
}

// TestRoles: each role may do what it is for and what lesser ones are, and
// nothing else; who did it is the token's name.
func TestRoles(t *testing.T) {
	e := newEnv()
	var asked sync.Map
	s := server(&Environment{Control: e, Logs: say, Set: func(ctx context.Context, r SetRequest) (SetResult, error) {
		asked.Store(r.By, reconciler.MeansOf(ctx))
		return SetResult{ID: r.ID, Changed: true, Proposal: &Proposal{ID: "7"}}, nil
	}})
	s.Tokens = &Tokens{}
	s.Tokens.Set([]Token{{"vera", Viewer, schema.NewSecret("token-of-vera"), nil}, {"ana", Approver, schema.NewSecret("token-of-ana"), nil}, {"pipe", Proposer, schema.NewSecret("token-of-pipe"), nil}, {"otto", Operator, schema.NewSecret("token-of-otto"), nil}})
	at := overTCP(t, s)
	calls := []struct {
		name  string
		least Role
		call  func(context.Context, *Client) error
	}{
		{"info", Viewer, func(ctx context.Context, c *Client) error { return c.get(ctx, "/v1/info", nil, nil) }},
		{"environments", Viewer, func(ctx context.Context, c *Client) error { _, err := c.Environments(ctx); return err }},
		{"environment", Viewer, func(ctx context.Context, c *Client) error { return c.ask(ctx, "", nil, nil) }},
		{"status", Viewer, func(ctx context.Context, c *Client) error { return c.ask(ctx, "/status", nil, nil) }},
		{"plan", Viewer, func(ctx context.Context, c *Client) error { return c.ask(ctx, "/plan", nil, nil) }},
		{"graph", Viewer, func(ctx context.Context, c *Client) error { return c.ask(ctx, "/graph", nil, nil) }},
		{"show", Viewer, func(_ context.Context, c *Client) error { _, err := c.Show(web); return err }},
		{"history", Viewer, func(ctx context.Context, c *Client) error { _, err := c.History(ctx, 1); return err }},
		{"audit", Viewer, func(ctx context.Context, c *Client) error { _, err := c.Audit(ctx, 1); return err }},
		{"events", Viewer, func(ctx context.Context, c *Client) error { _, _ = c.Events(ctx, 0); return c.Err() }},
		{"logs", Viewer, func(ctx context.Context, c *Client) error { return c.Logs(ctx, LogsQuery{ID: web}, io.Discard) }},
		{"nothing", Viewer, func(ctx context.Context, c *Client) error {
			if err := c.ask(ctx, "/nothing", nil, nil); !errors.Is(err, ErrNotServed) {
				return err
			}
			return nil
		}},
		{"set", Proposer, func(ctx context.Context, c *Client) error {
			_, err := c.Set(ctx, SetRequest{ID: web, Set: []SetValue{{"content", "x"}}, By: "x"})
			return err
		}},
		{"suspend", Approver, func(ctx context.Context, c *Client) error { return c.Suspend(ctx, "x", nil, "") }},
		{"resume", Approver, func(ctx context.Context, c *Client) error { return c.Resume(ctx, "x", nil, "") }},
		{"approve", Approver, func(ctx context.Context, c *Client) error {
			_, err := c.Approve(ctx, "x", reconciler.Yes{Digest: pending})
			return err
		}},
		{"approve outside", Approver, func(ctx context.Context, c *Client) error {
			_, err := c.Approve(ctx, "x", reconciler.Yes{Digest: pending, Outside: true})
			return err
		}},
		{"kick", Operator, func(_ context.Context, c *Client) error { c.Kick(); return c.Err() }},
		{"rollback", Operator, func(ctx context.Context, c *Client) error {
			if _, err := c.Rollback(ctx, "x", "", ""); !errors.Is(err, reconciler.ErrNoRevision) {
				return err
			}
			return nil
		}},
		{"down", Operator, func(ctx context.Context, c *Client) error {
			_, err := c.Down(ctx, "x", []schema.ID{web}, "")
			return err
		}},
	}
	for role, name := range map[Role]string{Nobody: "", Viewer: "vera", Proposer: "pipe", Approver: "ana", Operator: "otto"} {
		at.Token = nil
		if name != "" {
			at.Token = token("token-of-" + name)
		}
		d, err := newDaemon(at)
		if err != nil {
			t.Fatal(err)
		}
		c := d.Environment("test")
		for _, tc := range calls {
			want := error(nil)
			if role < tc.least {
				want = ErrRole
			}
			if role == Nobody {
				want = ErrToken
			}
			err := tc.call(t.Context(), c)
			if !errors.Is(err, want) || want != nil && HintOf(err) == "" {
				t.Errorf("%s asks for %s: %v, want %v", role, tc.name, err, want)
			}
		}
		d.Close()
	}
	all, _ := e.Audit(t.Context(), 100)
	var by []string
	for _, a := range all {
		by = append(by, a.By)
	}
	slices.Sort(by)
	if got, want := fmt.Sprint(slices.Compact(by)), "[ana otto]"; got != want {
		t.Errorf("levers were pulled by %s, want %s", got, want)
	}
	for _, name := range []string{"pipe", "ana", "otto"} {
		if via, ok := asked.Load(name); !ok || via != reconciler.MeansToken {
			t.Errorf("%s asked for a proposal by way of %v", name, via)
		}
	}
}

// TestTokens: a token is whole or wrong, and one that is replaced is wrong.
func TestTokens(t *testing.T) {
	tokens := &Tokens{}
	if _, ok := tokens.find(""); ok {
		t.Error("nobody is known, and somebody was found")
	}
	tokens.Set([]Token{{"ana", Viewer, schema.NewSecret("0123456789abcdef"), nil}, {"ben", Operator, schema.NewSecret("fedcba9876543210"), nil}})
	for value, want := range map[string]string{
		"0123456789abcdef": "ana", "fedcba9876543210": "ben", "": "", "0123456789abcde": "", "0123456789abcdef0": "", "0123456789ABCDEF": "",
	} {
		if c, ok := tokens.find(value); ok != (want != "") || c.name != want {
			t.Errorf("%q is of %q, want %q", value, c.name, want)
		}
	}
	tokens.Set([]Token{{"ana", Viewer, schema.NewSecret("another, and a longer one"), nil}})
	if _, ok := tokens.find("0123456789abcdef"); ok {
		t.Error("a token that was replaced is good still")
	}
}

func TestParseRole(t *testing.T) {
	for _, r := range []Role{Viewer, Proposer, Approver, Operator} {
		if got, err := ParseRole(r.String()); got != r || err != nil {
			t.Errorf("%s: %v, %v", r, got, err)
		}
	}
	for _, name := range []string{"", "nobody", "Viewer", "admin"} {
		if r, err := ParseRole(name); err == nil {
			t.Errorf("%q is %s", name, r)
		}
	}
}

// TestWrongTokens: who guesses is let wait; others are not, and the right token
// is not looked at either, or guessing would go on.
func TestWrongTokens(t *testing.T) {
	s := server(&Environment{Control: newEnv()})
	s.Tokens = &Tokens{}
	s.Tokens.Set([]Token{{"ana", Viewer, schema.NewSecret("0123456789abcdef"), nil}})
	var heard atomic.Int64
	s.Wrong = func(from string) {
		if from == "127.0.0.1" {
			heard.Add(1)
		}
	}
	at := overTCP(t, s)
	at.Token = token("wrong")
	for range MostWrong {
		if _, _, err := Dial(t.Context(), at); !errors.Is(err, ErrToken) || HintOf(err) == "" {
			t.Fatal(err)
		}
	}
	at.Token = token("0123456789abcdef")
	if _, _, err := Dial(t.Context(), at); !errors.Is(err, ErrTooMany) {
		t.Errorf("after %d wrong tokens: %v", MostWrong, err)
	}
	if n := heard.Load(); n != MostWrong {
		t.Errorf("%d wrong tokens were told of, want %d", n, MostWrong)
	}
	var a attempts
	now := time.Now()
	for range MostWrong {
		a.failed("::1", now)
	}
	if a.allowed("::1", now) || !a.allowed("::2", now) || !a.allowed("::1", now.Add(WrongWindow)) {
		t.Error("not who guesses is let wait, or not long enough, or for ever")
	}
	for i := range 2 * mostAddresses {
		a.failed(fmt.Sprint(i), now.Add(time.Duration(i)))
	}
	if len(a.all) > mostAddresses {
		t.Errorf("%d addresses are remembered", len(a.all))
	}
}

// TestPlain: a token does not leave this machine in plain text, and nothing but
// the server's own address is in its URL.
func TestPlain(t *testing.T) {
	for _, url := range []string{"http://example.org:7717", "https://ana:pw@example.org", "https://example.org?x=y", "ftp://x", "example.org:7717", ""} {
		if _, _, err := Dial(t.Context(), Address{URL: url, Socket: t.TempDir() + "/s"}); !errors.Is(err, ErrRequest) && url != "" {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := newDaemon(Address{URL: "http://127.0.0.1:7717"}); err != nil {
		t.Error(err)
	}
}

// TestUntrusted: a certificate that nobody vouches for is refused, and what to
// do about it is said.
func TestUntrusted(t *testing.T) {
	at := overTCP(t, server(&Environment{Control: newEnv()}))
	at.TLS = nil
	if _, _, err := Dial(t.Context(), at); err == nil || !strings.Contains(HintOf(err), "--ca-file") {
		t.Errorf("%v, hint %q", err, HintOf(err))
	}
}

// TestRedirect: a token does not follow a redirect.
func TestRedirect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})}
	ended := make(chan error, 1)
	go func() { ended <- hs.Serve(l) }()
	_, _, err = Dial(t.Context(), Address{URL: "http://" + l.Addr().String(), Token: token("x")})
	_ = hs.Close()
	<-ended
	if err == nil || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}

// TestHealth: whether the daemon is there and ready is no secret; why it is not
// is told on this machine only, or to a viewer.
func TestHealth(t *testing.T) {
	reasons := []string{"environment test: its source was not looked at yet"}
	s := server(&Environment{Control: newEnv()})
	s.Ready = func() []string { return reasons }
	s.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "aplomb 1\n") })
	at := overTCP(t, s)
	ask := func(path string) (int, string) {
		d, err := newDaemon(at)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		res, err := d.http.Get(at.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	for path, want := range map[string]string{"/healthz": "200 ok\n", "/readyz": "503 " + reasons[0] + "\n", "/metrics": "200 aplomb 1\n"} {
		if code, body := ask(path); fmt.Sprint(code, " ", body) != want {
			t.Errorf("%s: %d %q, want %q", path, code, body, want)
		}
	}
	reasons = nil
	if code, body := ask("/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	far := func(path, bearer string) (int, string) { // as from another machine: it comes to no loopback address
		r, err := http.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		w := &answered{header: http.Header{}, code: 200}
		s.Handler().ServeHTTP(w, r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)})))
		return w.code, w.body.String()
	}
	reasons = []string{"environment test: why"}
	s.Tokens = &Tokens{}
	s.Tokens.Set([]Token{{"vera", Viewer, schema.NewSecret("token-of-vera"), nil}})
	for _, tc := range []struct {
		path, bearer, want string
		code               int
	}{
		{"/healthz", "", "ok\n", 200}, {"/readyz", "", "not ready\n", 503}, {"/readyz", "token-of-vera", "environment test: why\n", 503},
		{"/metrics", "token-of-vera", "aplomb 1\n", 200}, {"/v1/info", "token-of-vera", `{"version":"1"`, 200},
		{"/metrics", "", `{"error":{"code":"no-token"`, 401}, {"/metrics", "x", `{"error":{"code":"no-token"`, 401}, {"/healthz", "x", "ok\n", 200},
	} {
		if code, body := far(tc.path, tc.bearer); code != tc.code || !strings.HasPrefix(body, tc.want) {
			t.Errorf("%s with %q: %d %q, want %d %q", tc.path, tc.bearer, code, body, tc.code, tc.want)
		}
	}
}

// answered is an answer as it was written.
type answered struct {
	header http.Header
	code   int
	body   strings.Builder
}

func (a *answered) Header() http.Header         { return a.header }
func (a *answered) WriteHeader(code int)        { a.code = code }
func (a *answered) Write(b []byte) (int, error) { return a.body.Write(b) }
