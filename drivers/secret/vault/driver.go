// Package vault drives the secret layer on a Vault or an OpenBao: mounts, auth
// methods, policies, secrets in KV version 2, and what lies below a mount. It
// must not know of other drivers, of sources or of the reconciler. A plaintext
// passes through it only on its way to Vault, from Vault to Reveal, and, where a
// secret's own last version is put back, from Vault to Vault.
//
// Vault has no compare-and-set but for KV version 2, no versions of other
// things, and tells nobody that something moved. So whatever is written is read
// just before and just after, a version is a hash of what was read, and targets
// of this driver are polled.
package vault

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// DriverVersion is the version of the logic that plans: a plan that another
// one made is made again.
const DriverVersion = "1"

// The kinds that Driver serves.
const (
	Mount          = "vault.mount"
	Auth           = "vault.auth"
	Policy         = "vault.policy"
	PasswordPolicy = "vault.password-policy"
	KV             = "vault.kv"
	Role           = "vault.role"
	Config         = "vault.config"
)

// Driver serves one Vault. The fields are set before its first use and not
// changed after; its methods are safe for concurrent use.
type Driver struct {
	Env         string                        // environment id; required
	URL         string                        // base URL: https://vault.example.org:8200; required
	Namespace   string                        // of Vault Enterprise and OpenBao; empty: the root namespace
	Token       func() (schema.Secret, error) // read at each use; nil: none, or that of Login
	Login       *Login                        // instead of Token; nil: none
	TLS         *tls.Config                   // nil: the system's roots
	Fingerprint drivers.Fingerprinter         // required
	AgeKey      func() (schema.Secret, error) // the text of an age identity file, for values given as age ciphertext; nil: there are none
	Concurrency int                           // requests at once; zero means drivers.DefaultConcurrency
	Log         logrus.FieldLogger            // nil: silent
	Now         func() time.Time              // nil: time.Now

	once    sync.Once
	http    *http.Client
	base    *url.URL // of all paths, with a slash at its end; nil: URL is none
	session session
	locks   driverkit.Locks
	names   names    // of policies, for applies that make some
	ready   sync.Map // accessors of KV mounts that were seen to answer
	kv2     sync.Map // mounts that are KV version 2
	lasting sync.Map // handles that Vault was seen to refuse to delete
}

var (
	_ drivers.Driver   = (*Driver)(nil)
	_ drivers.Lister   = (*Driver)(nil)
	_ drivers.Revealer = (*Driver)(nil)
	_ drivers.Checker  = (*Driver)(nil)
	_ drivers.Needer   = (*Driver)(nil)
)

// Kinds are the kinds that the driver serves.
func (d *Driver) Kinds() []string {
	return []string{Mount, Auth, Policy, PasswordPolicy, KV, Role, Config}
}

func (d *Driver) setup() {
	d.once.Do(func() {
		if d.Log == nil {
			silent := logrus.New()
			silent.SetOutput(io.Discard)
			d.Log = silent
		}
		if d.Now == nil {
			d.Now = time.Now
		}
		if d.Concurrency == 0 {
			d.Concurrency = drivers.DefaultConcurrency
		}
		d.http = &http.Client{Transport: driverkit.Transport(d.Concurrency, d.TLS), CheckRedirect: driverkit.NoRedirects}
		if u, err := url.Parse(d.URL); err == nil && u.Host != "" {
			d.base = u.JoinPath("v1/")
			d.base.RawPath = ""
		}
		d.session.free = make(chan struct{}, 1)
	})
}

// served finds how a kind is read, compared and written.
func (d *Driver) served(kind string) (object, error) {
	switch kind {
	case Mount:
		return mounts{kind: Mount, prefix: "mount/", path: "sys/mounts"}, nil
	case Auth:
		return mounts{kind: Auth, prefix: "auth/", path: "sys/auth"}, nil
	case Policy:
		return policies{kind: Policy, prefix: "policy/", path: "sys/policies/acl/", marks: true}, nil
	case PasswordPolicy:
		return policies{kind: PasswordPolicy, prefix: "password-policy/", path: "sys/policies/password/"}, nil
	case KV:
		return secrets{d}, nil
	case Role, Config:
		return paths{kind: kind}, nil
	}
	return nil, driverkit.Refuse("serve", kind, fmt.Errorf("the vault driver has no kind %q", kind), "")
}

// Address is the kind's own word and the path in Vault: mount/secret,
// auth/jwt-nomad, policy/web, kv/secret/web, path/auth/jwt-nomad/role/web.
func (d *Driver) Address(kind, name string, spec json.RawMessage) (string, error) {
	k, err := d.served(kind)
	if err != nil {
		return "", err
	}
	handle, err := k.handle(name, spec)
	if err != nil {
		return "", driverkit.Refuse("find", kind+"/"+name, err, "")
	}
	return handle, nil
}

// Check implements drivers.Checker.
func (d *Driver) Check(kind, name string, want drivers.Desired) error {
	k, err := d.served(kind)
	if err != nil {
		return err
	}
	handle, err := k.handle(name, want.Spec)
	if err == nil {
		err = k.check(handle, &want)
	}
	var known *drivers.Error
	if err != nil && !errors.As(err, &known) {
		return driverkit.Refuse("read", kind+"/"+name, err, "")
	}
	return err
}

// Needs implements drivers.Needer: what lies below a mount wants the mount, and
// what names a policy wants that.
func (d *Driver) Needs(kind, name string, want drivers.Desired) []string {
	k, err := d.served(kind)
	if err != nil {
		return nil
	}
	return k.needs(name, &want)
}

// Observe reads the tables of mounts and of auth methods once each, and
// everything else one by one, beside each other.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	d.setup()
	states := make([]drivers.State, len(items))
	byKind := map[string][]int{}
	for i, it := range items {
		states[i].Handle = it.Handle
		byKind[it.ID.Kind] = append(byKind[it.ID.Kind], i)
	}
	for kind, at := range byKind {
		k, err := d.served(kind)
		if err == nil {
			err = d.observeKind(ctx, k, items, at, states)
			if err != nil {
				return nil, err
			}
			continue
		}
		for _, i := range at {
			states[i].Err = err
		}
	}
	return states, nil
}

// observeKind fills in the states of one kind. The error means that the whole
// target is out of reach.
func (d *Driver) observeKind(ctx context.Context, k object, items []drivers.Item, at []int, states []drivers.State) error {
	strange := 0
	for _, i := range at {
		if items[i].Last == nil {
			strange++
		}
	}
	source, err := k.open(ctx, d, strange)
	if err != nil {
		return err
	}
	return each(ctx, len(at), d.Concurrency, func(n int) error {
		it := items[at[n]]
		s, err := d.state(ctx, k, source, it)
		if errors.Is(err, drivers.ErrUnreachable) {
			return err
		}
		if err != nil {
			s = drivers.State{Handle: it.Handle, Err: err}
		}
		states[at[n]] = s
		return nil
	})
}

// each calls f for 0 to n-1, some at once, until one fails.
func each(ctx context.Context, n, atOnce int, f func(int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(n, atOnce) {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return driverkit.FailHTTP("observe", "vault", 0, context.Cause(ctx))
	}
	return nil
}
