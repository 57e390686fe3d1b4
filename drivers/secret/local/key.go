package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"filippo.io/age"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
)

const (
	keyFile       = "key.txt"
	recipientFile = "recipient.txt"
	maxKey        = 16 << 10
)

// keyring is the environment's own age identity. It is made at its first use;
// one that got lost while secrets are sealed with it is never made anew.
type keyring struct {
	dir string

	mu sync.Mutex
	id *age.X25519Identity // as it was read; nil: not yet
}

// Recipient is what people encrypt to for this environment: age1… . It makes
// the key if there is none yet, and refuses a key file that others may read,
// so calling it first is a check that the store is in order.
func (d *Driver) Recipient() (string, error) {
	d.setup()
	id, err := d.keys.identity(d.anySecrets)
	if err != nil {
		return "", err
	}
	return id.Recipient().String(), nil
}

func (d *Driver) anySecrets() (bool, error) {
	names, err := d.folder.Names()
	return len(names) > 0, err
}

func (k *keyring) path() string { return filepath.Join(k.dir, keyFile) }

func (k *keyring) identity(inUse func() (bool, error)) (*age.X25519Identity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Lstat(k.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k.make(inUse)
	case err != nil:
		return nil, driverkit.Fail("look at", k.path(), err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		return nil, &drivers.Error{Op: "read key", Subject: k.path(), Class: drivers.ErrDenied,
			Err: fmt.Errorf("its mode is %v: others may read it", info.Mode()), Hint: "chmod 600 " + k.path() + ", and rotate the secrets if somebody did"}
	}
	if k.id != nil {
		return k.id, nil
	}
	id, err := k.read()
	if err != nil {
		return nil, err
	}
	if err := k.publish(id); err != nil {
		return nil, driverkit.Fail("write", filepath.Join(k.dir, recipientFile), err)
	}
	k.id = id
	return id, nil
}

// read reads the key file: comments, empty lines and one identity. Its errors
// repeat nothing of it.
func (k *keyring) read() (_ *age.X25519Identity, err error) {
	f, err := os.Open(k.path())
	if err != nil {
		return nil, driverkit.Fail("read key", k.path(), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxKey))
	if err != nil {
		return nil, driverkit.Fail("read key", k.path(), err)
	}
	id, ok := parseKey(data)
	if !ok {
		return nil, driverkit.Refuse("read key", k.path(), errors.New("it holds no age identity, or more than one"), "restore it from a backup")
	}
	return id, nil
}

func parseKey(data []byte) (*age.X25519Identity, bool) {
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil || len(ids) != 1 {
		return nil, false
	}
	id, ok := ids[0].(*age.X25519Identity)
	return id, ok
}

// make writes a key where there is none: the one in memory if the file was
// removed behind its back, else a new one.
func (k *keyring) make(inUse func() (bool, error)) (_ *age.X25519Identity, err error) {
	id := k.id
	if id == nil {
		used, err := inUse()
		if err != nil {
			return nil, driverkit.Fail("list", k.dir, err)
		}
		if used {
			return nil, driverkit.Refuse("read key", k.path(), errors.New("it is gone, and secrets are sealed with it"),
				"restore the key from a backup, or delete the folder secrets beside it to have all values made anew")
		}
		if id, err = age.GenerateX25519Identity(); err != nil {
			return nil, err
		}
	}
	if err := records.MakeDir(k.dir); err != nil {
		return nil, driverkit.Fail("make", k.dir, err)
	}
	text := fmt.Sprintf("# The identity of one aplomb environment. Who has it can read every secret.\n# public key: %s\n%s\n", id.Recipient(), id)
	if err := k.put(keyFile, []byte(text), 0o600, atomicfile.Create); err != nil {
		return nil, driverkit.Fail("write key", k.path(), err)
	}
	if err := k.publish(id); err != nil {
		return nil, driverkit.Fail("write", filepath.Join(k.dir, recipientFile), err)
	}
	k.id = id
	return id, nil
}

// publish writes the recipient, unless it stands there.
func (k *keyring) publish(id *age.X25519Identity) error {
	text := id.Recipient().String() + "\n"
	if info, err := os.Lstat(filepath.Join(k.dir, recipientFile)); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(text)) {
		if old, err := os.ReadFile(filepath.Join(k.dir, recipientFile)); err == nil && string(old) == text {
			return nil
		}
	}
	return k.put(recipientFile, []byte(text), 0o644, atomicfile.Replace)
}

func (k *keyring) put(name string, data []byte, mode fs.FileMode, write func(*os.Root, string, []byte, fs.FileMode) error) (err error) {
	root, err := os.OpenRoot(k.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return write(root, name, data, mode)
}
