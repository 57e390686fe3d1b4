package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/mesh/consul"
	"github.com/aplomb-dev/aplomb/drivers/provisioning/tofu"
	"github.com/aplomb-dev/aplomb/drivers/scheduler/nomad"
	"github.com/aplomb-dev/aplomb/drivers/secret/vault"
	"github.com/aplomb-dev/aplomb/schema"
)

// newNomad, newVault, newConsul and newTofu make the drivers of the real
// engines of what w holds.
func newNomad(w wiring) (engine, error) {
	d := &nomad.Driver{
		Env: w.folder.ID, URL: w.target.Address, Region: w.target.Region, Token: w.token, TLS: w.tls,
		Fingerprint: w.fingerprint, Concurrency: w.target.Concurrency, Log: w.log,
	}
	return engine{driver: d, kinds: d.Kinds(), version: nomad.DriverVersion}, nil
}

func newConsul(w wiring) (engine, error) {
	d := &consul.Driver{
		Env: w.folder.ID, URL: w.target.Address, Token: w.token, TLS: w.tls,
		Concurrency: w.target.Concurrency, Log: w.log,
	}
	return engine{driver: d, kinds: d.Kinds(), version: consul.DriverVersion}, nil
}

func newVault(w wiring) (engine, error) {
	d := &vault.Driver{
		Env: w.folder.ID, URL: w.target.Address, Namespace: w.target.Namespace, Token: w.token, TLS: w.tls,
		Fingerprint: w.fingerprint, Concurrency: w.target.Concurrency, Log: w.log,
		AgeKey: func() (schema.Secret, error) { return ageKey(w.folder) },
	}
	switch l := w.target.Login; {
	case l.JWT != nil:
		file := &secretFile{path: l.JWT.File, log: w.log}
		d.Login = &vault.Login{Method: "jwt", Mount: l.JWT.Mount, Role: l.JWT.Role, Secret: file.read}
	case l.AppRole != nil:
		file := &secretFile{path: l.AppRole.SecretIDFile, log: w.log}
		d.Login = &vault.Login{Method: "approle", Mount: l.AppRole.Mount, Role: l.AppRole.RoleID, Secret: file.orNone()}
	}
	return engine{driver: d, kinds: d.Kinds(), version: vault.DriverVersion, sealed: true}, nil
}

func newTofu(w wiring) (engine, error) {
	d := &tofu.Driver{
		Env: w.folder.ID, Dir: filepath.Join(w.folder.join(stacksDir), w.target.Name), Binary: w.target.Binary,
		Key: derive(w.key, "stacks"), Fingerprint: w.fingerprint, Concurrency: w.target.Concurrency, Log: w.log,
		Pass:    w.target.Pass,
		Refresh: orElse(time.Duration(w.target.Resync), polled) * 4 / 5, // so that each resync plans
	}
	if file := w.target.CLIConfig; file != "" {
		d.ProviderConfig = &file
	}
	return engine{driver: d, kinds: d.Kinds(), version: tofu.DriverVersion}, nil
}

// maxKeyFile bounds the file of the environment's age identity, in bytes.
const maxKeyFile = 64 << 10

// ageKey is the environment's age identity, which what people encrypt for it is
// opened with. The embedded driver of secrets makes it, and answers for the
// file's mode.
func ageKey(f *folder) (schema.Secret, error) {
	in, err := os.Open(filepath.Join(f.join(secretsDir), "key.txt"))
	if err != nil {
		return schema.Secret{}, fmt.Errorf("read the environment's age identity: %w", err)
	}
	defer func() { _ = in.Close() }()
	if st, err := in.Stat(); err != nil || st.Mode().Perm()&0o077 != 0 {
		return schema.Secret{}, errors.Join(errors.New("read the environment's age identity: others may read the file"), err)
	}
	b, err := io.ReadAll(io.LimitReader(in, maxKeyFile))
	if err != nil {
		return schema.Secret{}, fmt.Errorf("read the environment's age identity: %w", err)
	}
	return schema.NewSecret(string(b)), nil
}
