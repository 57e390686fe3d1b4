package consul

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// The kinds that Driver serves.
const (
	KindDefaults   = "consul.service-defaults"
	KindResolver   = "consul.service-resolver"
	KindIntentions = "consul.service-intentions"
	KindKV         = "consul.kv"
	KindService    = "consul.service"
	KindPolicy     = "consul.policy"
	KindRole       = "consul.role"
	KindAuthMethod = "consul.auth-method"
	KindRule       = "consul.binding-rule"
)

// DriverVersion is that of the driver's planning logic.
const DriverVersion = "1"

// Driver serves the consul.* kinds of one Consul. The fields are set before
// its first use and not changed after; its methods are safe for concurrent use.
type Driver struct {
	Env         string                        // environment id; required
	URL         string                        // base URL, http:// or https://; required
	Token       func() (schema.Secret, error) // read at each use; nil: none
	TLS         *tls.Config                   // nil: the system's roots
	Concurrency int                           // requests at once; zero: drivers.DefaultConcurrency
	Log         logrus.FieldLogger            // nil: silent

	once     sync.Once
	err      error // of the configuration
	client   *client
	families map[string]family
	seen     seen
}

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Watcher = (*Driver)(nil)
	_ drivers.Lister  = (*Driver)(nil)
	_ drivers.Checker = (*Driver)(nil)
	_ drivers.Claimer = (*Driver)(nil)
	_ drivers.Needer  = (*Driver)(nil)
)

// Kinds are the kinds that the driver serves.
func (d *Driver) Kinds() []string {
	return []string{KindAuthMethod, KindRule, KindKV, KindPolicy, KindRole, KindService, KindDefaults, KindIntentions, KindResolver}
}

func (d *Driver) setup() {
	d.once.Do(func() {
		if d.Log == nil {
			silent := logrus.New()
			silent.SetOutput(io.Discard)
			d.Log = silent
		}
		if d.Env == "" {
			d.err = driverkit.Refuse("reach", "Consul", errors.New("no environment is set"), "")
		}
		c, err := newClient(d.URL, d.Token, driverkit.Transport(d.Concurrency, d.TLS))
		if d.err == nil {
			d.err = err
		}
		d.client = c
		d.families = map[string]family{
			KindDefaults: newEntries(d, KindDefaults), KindResolver: newEntries(d, KindResolver), KindIntentions: newEntries(d, KindIntentions),
			KindKV: newKV(d), KindService: newServices(d),
			KindPolicy: newACL(d, policies{}), KindRole: newACL(d, roles{}), KindAuthMethod: newACL(d, methods{}), KindRule: newACL(d, rules{}),
		}
	})
}

// family finds what serves a kind.
func (d *Driver) family(kind string) (family, error) {
	d.setup()
	f := d.families[kind]
	if f == nil {
		return nil, driverkit.Refuse("serve", kind, fmt.Errorf("the Consul driver has no kind %q", kind), "")
	}
	return f, nil
}

// Address is service-defaults/NAME and so on for config entries, kv/KEY,
// service/NODE/ID, acl-policy/NAME, acl-role/NAME, acl-auth-method/NAME; the
// id of a binding rule is Consul's.
func (d *Driver) Address(kind, name string, spec json.RawMessage) (string, error) {
	f, err := d.family(kind)
	if err != nil {
		return "", err
	}
	return f.address(name, spec)
}

// Observe reads each kind in as few requests as it allows, beside each other.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	d.setup()
	if d.err != nil {
		return nil, d.err
	}
	states := make([]drivers.State, len(items))
	of := map[string][]int{}
	for i, it := range items {
		if d.families[it.ID.Kind] == nil {
			_, err := d.family(it.ID.Kind)
			states[i] = drivers.State{Handle: it.Handle, Err: err}
			continue
		}
		of[it.ID.Kind] = append(of[it.ID.Kind], i)
	}
	errs := make([]error, len(items))
	var wg sync.WaitGroup
	for kind, at := range of {
		wg.Go(func() { errs[at[0]] = d.observe(ctx, kind, items, at, states) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return states, nil
}

// observe reads the items of one kind, which stand at these places. An error
// is answered only if the target itself is out of reach.
func (d *Driver) observe(ctx context.Context, kind string, items []drivers.Item, at []int, states []drivers.State) error {
	mine := make([]drivers.Item, len(at))
	for i, n := range at {
		mine[i] = items[n]
	}
	got, err := d.families[kind].observe(ctx, mine)
	if err != nil && (drivers.Class(err) == drivers.ErrUnreachable || ctx.Err() != nil) {
		return err
	}
	for i, n := range at {
		if err != nil {
			states[n] = drivers.State{Handle: items[n].Handle, Err: err}
			continue
		}
		states[n] = got[i]
		d.seen.note(items[n], got[i])
	}
	return nil
}

// List answers what carries a mark of aplomb's: config entries, keys, services
// and, where Consul has ACLs and the token may read them, ACL objects.
func (d *Driver) List(ctx context.Context) ([]drivers.State, error) {
	d.setup()
	if d.err != nil {
		return nil, d.err
	}
	var all []drivers.State
	kinds := d.Kinds()
	slices.Sort(kinds)
	for _, kind := range kinds {
		got, err := d.families[kind].list(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
	}
	return all, nil
}
