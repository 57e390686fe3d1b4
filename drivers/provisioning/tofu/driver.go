package tofu

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// Kind is the kind that Driver serves.
const Kind = "tofu.stack"

// DriverVersion is the version of this driver's planning, for drivers.Target.
const DriverVersion = "1"

// DefaultRefresh is Driver.Refresh where that is zero, for a target that is
// looked at every five minutes.
const DefaultRefresh = 4 * time.Minute

// DefaultConcurrency is Driver.Concurrency where that is zero.
const DefaultConcurrency = 4

const prefix = "stack/" // of every handle

// Driver serves tofu.stack. The fields are set before its first use and not
// changed after; its methods are safe for concurrent use. One process at a time
// may use a Dir.
type Driver struct {
	Env         string                // environment id; required
	Dir         string                // data folder of this driver; required, absolute
	Binary      string                // tofu or terraform, absolute or looked up in PATH; "" is tofu, else terraform
	Key         []byte                // 32 bytes, from which the keys of state, plans and sealed secrets are derived; required
	Fingerprint drivers.Fingerprinter // required

	Pass           []string // names of variables of this process's environment that the tool gets, such as AWS_PROFILE, but no TF_ ones save TF_TOKEN_; nothing else is inherited but PATH
	ProviderConfig *string  // path of the tool's CLI configuration, TF_CLI_CONFIG_FILE; nil: one that installs from the registry into a cache in Dir
	Concurrency    int      // runs of the tool at once that only look, of which each fills a core; zero means DefaultConcurrency. Applies are as many as are called for

	// Refresh is how long what a plan has seen counts as seen: State.Version
	// changes so often, and a look after that plans. At most nineteen twentieths
	// of Target.Resync, so that every resync plans. Zero means DefaultRefresh.
	Refresh time.Duration

	Shim detached.Shim      // zero: this very binary
	Log  logrus.FieldLogger // nil: silent
	Now  func() time.Time   // nil: time.Now

	once   sync.Once
	locks  driverkit.Locks
	slots  chan struct{}
	tools  toolCache
	checks checkCache
	inits  sync.Mutex // the cache of providers is not safe for two inits at once
}

var (
	_ drivers.Driver   = (*Driver)(nil)
	_ drivers.Lister   = (*Driver)(nil)
	_ drivers.Revealer = (*Driver)(nil)
	_ drivers.Checker  = (*Driver)(nil)
)

// Kinds are the kinds that the driver serves.
func (d *Driver) Kinds() []string { return []string{Kind} }

func (d *Driver) setup() {
	d.once.Do(func() {
		if d.Log == nil {
			silent := logrus.New()
			silent.SetLevel(logrus.PanicLevel)
			d.Log = silent
		}
		if d.Now == nil {
			d.Now = time.Now
		}
		if d.Refresh == 0 {
			d.Refresh = DefaultRefresh
		}
		n := d.Concurrency
		if n <= 0 {
			n = DefaultConcurrency
		}
		n = min(n, max(DefaultConcurrency, 2*runtime.NumCPU())) // more would only wait for each other
		d.slots = make(chan struct{}, n)
		if d.configured() == nil {
			if err := os.RemoveAll(filepath.Join(d.Dir, d.Env, asideDir)); err != nil { // of plans that a crash cut short: there may be a state in it
				d.Log.WithField("env", d.Env).WithError(err).Warn("copies of stacks cannot be removed")
			}
		}
	})
}

// configured says what is missing to run anything.
func (d *Driver) configured() error {
	switch {
	case len(d.Key) != 32:
		return fmt.Errorf("the key has %d bytes instead of 32", len(d.Key))
	case !filepath.IsAbs(d.Dir):
		return errors.New("the data folder is not absolute")
	case !nameRE.MatchString(d.Env):
		return fmt.Errorf("the environment %q cannot name a folder", d.Env)
	}
	return nil
}

// nameRE is what names a folder of its own.
var nameRE = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$`)

// Address is "stack/NAME": a stack is known by its name, its module may move.
func (d *Driver) Address(kind, name string, _ json.RawMessage) (string, error) {
	if kind != Kind {
		return "", unserved(kind)
	}
	if !nameRE.MatchString(name) {
		return "", driverkit.Refuse("address", prefix+name, errors.New("this cannot name a folder"), "")
	}
	return prefix + name, nil
}

func unserved(kind string) error {
	return driverkit.Refuse("serve", kind, fmt.Errorf("kind %q is none of this driver's", kind), "")
}

// stackOf is the stack of a handle.
func (d *Driver) stackOf(handle string) (*stack, error) {
	d.setup()
	if err := d.configured(); err != nil {
		return nil, driverkit.Refuse("find", handle, err, "this is a fault of the configuration")
	}
	name, ok := strings.CutPrefix(handle, prefix)
	if !ok || !nameRE.MatchString(name) {
		return nil, driverkit.Refuse("find", handle, errors.New("this is no stack's address"), "")
	}
	return &stack{name: name, handle: handle, dir: filepath.Join(d.Dir, d.Env, name)}, nil
}

// spec is tofu.stack's spec.
type spec struct {
	Module     string                     `json:"module"`
	Vars       map[string]json.RawMessage `json:"vars"`
	SecretVars map[string]string          `json:"secretVars"` // each a text that holds tokens, or nothing secret
	Outputs    map[string]declaredOutput  `json:"outputs"`
}

type declaredOutput struct {
	Type      string `json:"type"`
	Sensitive bool   `json:"sensitive"`
}

func specOf(handle string, want *drivers.Desired) (spec, error) {
	var s spec
	if err := driverkit.Decode(want, &s); err != nil {
		return s, driverkit.Refuse("read", handle, err, "")
	}
	return s, nil
}

const (
	modulePath  schema.Path = "/!module"    // content of the module's folder
	sourcesPath schema.Path = "/!resources" // below: a resource by its address
	valuesPath  schema.Path = "/!outputs"   // below: an output's value by its name
	unfinished  schema.Path = "/!apply"     // the last apply did not end well
	secretsPath schema.Path = "/secretVars"
)
