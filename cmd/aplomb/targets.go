package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/schema"
)

// wiring is what a target's driver is made of. Nothing is reached yet.
type wiring struct {
	folder      *folder
	key         []byte        // the environment's
	target      config.Target // as configured
	token       func() (schema.Secret, error)
	tls         *tls.Config // nil: the system's roots
	fingerprint drivers.Fingerprinter
	log         logrus.FieldLogger
}

// engine is a target's driver, with what the reconciler has to know of it.
type engine struct {
	driver  drivers.Driver // closed with the environment, where it is an io.Closer
	kinds   []string
	version string    // of the driver's logic: it changes when it would plan otherwise than before
	local   *embedded // of the engine that is built in
	sealed  bool      // it takes values that were encrypted for the environment
}

// engines is what is known of each engine, and the constructor of its driver.
var engines = map[string]struct {
	make   func(wiring) (engine, error)
	remote bool          // it is reached over HTTP: its calls are limited, and reads are repeated
	linger time.Duration // how long a write may land after its caller gave up
	resync time.Duration // where the configuration says nothing; zero: the environment's
}{
	config.Local: {make: newLocal},
	"nomad":      {make: newNomad, remote: true, linger: httpLinger},
	"vault":      {make: newVault, remote: true, linger: httpLinger, resync: polled},
	"consul":     {make: newConsul, remote: true, linger: httpLinger},
	"tofu":       {make: newTofu, resync: polled},
}

const (
	// httpLinger is how long a write over HTTP may land after its caller died
	// or gave up.
	httpLinger = 10 * time.Second
	// polled is the resync of engines that can tell nobody that something
	// moved.
	polled = 5 * time.Minute
)

// targets is the drivers of an environment, wired.
type targets struct {
	registry *drivers.Registry
	meters   map[string]*drivers.Meter
	local    *embedded // nil: no target is local
	sealed   bool      // some target takes values that were encrypted for the environment
}

// newTargets wires the configured targets of an environment. What is to be
// closed with them is added to closers.
func newTargets(f *folder, key []byte, all []config.Target, closers *closers, log logrus.FieldLogger) (*targets, error) {
	t := &targets{meters: map[string]*drivers.Meter{}}
	var registered []drivers.Target
	for _, c := range all {
		log := log.WithField("target", c.Name)
		e, err := newEngine(f, key, c, log)
		if err != nil {
			return nil, fmt.Errorf("target %s (%s): %w", c.Name, c.Engine, err)
		}
		if e.local != nil {
			t.local = e.local
		}
		t.sealed = t.sealed || e.sealed || e.local != nil
		if c, ok := e.driver.(io.Closer); ok {
			closers.add(c.Close)
		}
		meter := &drivers.Meter{Driver: &drivers.Log{Driver: e.driver, Logger: log}}
		t.meters[c.Name] = meter
		driver := drivers.Driver(meter)
		known := engines[c.Engine]
		if known.remote {
			driver = &drivers.Retry{Driver: &drivers.Limit{Driver: meter, Calls: c.Concurrency}}
		}
		registered = append(registered, drivers.Target{
			Name: c.Name, Engine: c.Engine, Kinds: e.kinds, Driver: driver, Identity: identityOf(f, c), Version: e.version,
			Concurrency: c.Concurrency, Resync: orElse(time.Duration(c.Resync), known.resync), Linger: known.linger,
		})
	}
	var err error
	t.registry, err = drivers.NewRegistry(registered...)
	return t, err
}

func orElse(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

func newEngine(f *folder, key []byte, c config.Target, log logrus.FieldLogger) (engine, error) {
	trust, err := trust(c)
	if err != nil {
		return engine{}, err
	}
	token := &secretFile{path: c.TokenFile, log: log}
	return engines[c.Engine].make(wiring{
		folder: f, key: key, target: c, token: token.orNone(), tls: trust, fingerprint: fingerprinter(derive(key, "fingerprint")), log: log,
	})
}

// identityOf is what digests of changes bind to: which engine it is, and where in
// it changes are made. How it is reached may change without asking anybody
// again.
func identityOf(f *folder, c config.Target) string {
	if c.Address == "" { // it lives in the data folder
		return f.ID
	}
	id := c.Engine + " " + c.Address
	for _, p := range [][2]string{{"region", c.Region}, {"namespace", c.Namespace}} {
		if p[1] != "" {
			id += " " + p[0] + "=" + p[1]
		}
	}
	return id
}

// maxPEM bounds a file of certificates, in bytes.
const maxPEM = 4 << 20

// trust is whom a target is believed by, and what is shown to it; nil where
// nothing is configured.
func trust(c config.Target) (*tls.Config, error) {
	if c.CAFile == "" && c.CertFile == "" && c.ServerName == "" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		roots, err := authorities(c.CAFile)
		if err != nil {
			return nil, err
		}
		t.RootCAs = roots
	}
	if c.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // it may be replaced while the daemon runs
			pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &pair, err
		}
	}
	return t, nil
}

// authorities reads a file of authorities, as PEM.
func authorities(path string) (*x509.CertPool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	defer func() { _ = f.Close() }()
	pem, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the authorities: %s holds no certificate", path)
	}
	return roots, nil
}
