package main

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/schema"
)

// leastToken is how long a token has to be, in bytes: a shorter one could be
// guessed.
const leastToken = 16

// tcp is how others than this machine's user reach the daemon.
type tcp struct {
	srv    *api.Server
	log    logrus.FieldLogger
	failed func(error) // hears that it does not answer any more

	tls  atomic.Pointer[tls.Config] // nil: connections are plain
	at   string                     // where it listens; "": nowhere
	stop func()                     // ends it, and waits
}

// access is what a configuration says of who may ask, read and ready to be put
// in force.
type access struct {
	tokens   []api.Token
	tls      *tls.Config
	at       string
	listener net.Listener // nil: it stays as it is, or there is none
}

// drop lets go of what is not put in force after all.
func (a *access) drop() {
	if a.listener != nil {
		_ = a.listener.Close()
	}
}

// prepare reads the files that a configuration names, and listens where it
// says. Until take, nothing changes for anybody.
func (t *tcp) prepare(cfg *config.Config) (*access, []schema.Diagnostic) {
	var findings []schema.Diagnostic
	find := func(path schema.Path, err error) {
		findings = append(findings, schema.Diagnostic{Pos: cfg.At(path), Path: path, Message: path.String() + ": " + err.Error(), Hint: hintOf(err)})
	}
	a := &access{at: cfg.API.Listen}
	for i, c := range cfg.API.Tokens {
		path := schema.Path("/api/tokens").Index(i)
		tok, err := readToken(c, t.log)
		if err != nil {
			find(path.Child("tokenFile"), err)
		}
		for _, other := range a.tokens {
			if err == nil && other.Value.Reveal() == tok.Value.Reveal() {
				find(path.Child("tokenFile"), hinted{errSameToken, "one token for each: else nobody could tell who asks"})
			}
		}
		a.tokens = append(a.tokens, tok)
	}
	if p := cfg.API.TLS; p != nil {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			find("/api/tls", err)
		}
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	if len(findings) == 0 && a.at != "" && a.at != t.at {
		l, err := net.Listen("tcp", a.at)
		if err != nil {
			find("/api/listen", err)
		}
		a.listener = l
	}
	return a, findings
}

func readToken(c config.Token, log logrus.FieldLogger) (api.Token, error) {
	role, err := api.ParseRole(c.Role)
	if err != nil {
		return api.Token{}, err
	}
	value, err := (&secretFile{path: c.TokenFile, log: log}).read()
	if err == nil && len(value.Reveal()) < leastToken {
		err = hinted{errShortToken, "openssl rand -hex 32 makes one"}
	}
	return api.Token{Name: c.Name, Role: role, Value: value, Teams: c.Teams}, err
}

// take puts in force what was prepared.
func (t *tcp) take(ctx context.Context, a *access) {
	t.srv.Tokens.Set(a.tokens)
	t.tls.Store(a.tls)
	if a.at == t.at {
		return
	}
	if t.stop != nil {
		go t.stop() // requests under way may end
		t.stop = nil
	}
	if t.at = a.at; a.listener == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := t.srv.Serve(ctx, api.TLS(a.listener, t.tls.Load)); err != nil {
			t.failed(err)
		}
	}()
	t.stop = func() {
		cancel()
		<-ended
	}
}

// close ends it.
func (t *tcp) close() {
	if t.stop != nil {
		t.stop()
	}
}
