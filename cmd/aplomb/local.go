package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	mesh "github.com/aplomb-dev/aplomb/drivers/mesh/local"
	provisioning "github.com/aplomb-dev/aplomb/drivers/provisioning/local"
	scheduler "github.com/aplomb-dev/aplomb/drivers/scheduler/local"
	secret "github.com/aplomb-dev/aplomb/drivers/secret/local"
	"github.com/aplomb-dev/aplomb/internal/config"
)

// embedded is the four embedded drivers of an environment.
type embedded struct {
	provisioning *provisioning.Driver
	secret       *secret.Driver
	mesh         *mesh.Driver
	scheduler    *scheduler.Driver
}

// localTargets is the one target of an environment that is not configured: the
// embedded drivers share it.
func localTargets(root string) []config.Target {
	return []config.Target{{Name: "local", Engine: config.Local, Root: root}}
}

// localVersion is the version of the embedded drivers' logic: it changes when
// one of them would plan otherwise than before.
const localVersion = "1"

// newLocal puts the embedded drivers behind one target.
func newLocal(w wiring) (engine, error) {
	e := newEmbedded(w.folder, w.target.Root, w.key, w.log)
	m := drivers.Mux{}
	for kind, d := range map[string]drivers.Driver{
		provisioning.FileKind: e.provisioning, provisioning.PortKind: e.provisioning,
		secret.Kind: e.secret, mesh.Kind: e.mesh, scheduler.Kind: e.scheduler,
	} {
		m[kind] = d
	}
	return engine{driver: m, kinds: slices.Sorted(maps.Keys(m)), version: localVersion, local: e}, nil
}

// newEmbedded makes the drivers; they do nothing before they are asked. root
// "": relative paths of files lie in the data folder.
func newEmbedded(f *folder, root string, key []byte, log logrus.FieldLogger) *embedded {
	if root == "" {
		root = f.join(filesDir)
	}
	print := fingerprinter(derive(key, "fingerprint"))
	return &embedded{
		provisioning: &provisioning.Driver{Env: f.ID, Root: root, Dir: f.join(portsDir), Deny: denied(f, root), Fingerprint: fingerprinter(derive(key, "file fingerprint")), Log: log},
		secret:       &secret.Driver{Env: f.ID, Dir: f.join(secretsDir), Fingerprint: print, Log: log},
		mesh:         &mesh.Driver{Env: f.ID, Dir: f.join(servicesDir), Log: log},
		scheduler:    &scheduler.Driver{Env: f.ID, Dir: f.join(processesDir), Root: root, Log: log},
	}
}

// denied are the folders that no declared file may lie in: the data folder,
// unless the environment's root lies in it; then everything else in it.
func denied(f *folder, root string) []string {
	if inside(f.path, root) == "" {
		return []string{f.path}
	}
	var all []string
	for _, name := range []string{portsDir, secretsDir, servicesDir, processesDir, stacksDir, gitDir, cacheDir, statusDir} {
		all = append(all, f.join(name))
	}
	return all
}

// fingerprinter makes change tokens of secrets.
func fingerprinter(key []byte) drivers.Fingerprinter {
	return func(plaintext []byte) string {
		h := hmac.New(sha256.New, key)
		_, _ = h.Write(plaintext)
		return hex.EncodeToString(h.Sum(nil))
	}
}
