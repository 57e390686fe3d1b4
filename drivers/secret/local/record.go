package local

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// record is a secret in the store. Nothing in it but Sealed comes of the
// value, save the fingerprint.
type record struct {
	Format      int             `json:"format"`
	Environment string          `json:"environment"`
	Name        string          `json:"name"`
	Spec        json.RawMessage `json:"spec"`             // as declared when it was last applied
	Version     int             `json:"version"`          // counts the values that it had
	Made        time.Time       `json:"made"`             // when this value was made
	Rotate      string          `json:"rotate,omitempty"` // how long after Made it is due
	Nonce       string          `json:"nonce,omitempty"`  // of the change that made it so
	Fingerprint string          `json:"fingerprint"`
	Sealed      []byte          `json:"sealed"` // age ciphertext of sealed
}

// sealed is what is encrypted: the name and version stand inside too, so that
// one record's value cannot be put into another.
type sealed struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	Value   []byte `json:"value"`
}

func checkRecord(name string, r *record) error {
	switch {
	case r.Format != 1:
		return fmt.Errorf("format %d is not known", r.Format)
	case r.Name != name:
		return fmt.Errorf("it is the record of %q", r.Name)
	case r.Version < 1 || r.Fingerprint == "" || len(r.Sealed) == 0 || r.Made.IsZero():
		return errors.New("it is not whole")
	}
	var spec map[string]any
	if err := json.Unmarshal(r.Spec, &spec); err != nil || spec == nil {
		return errors.New("its spec is no object")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, r.Spec); err != nil {
		return err
	}
	r.Spec = compact.Bytes()
	if r.Rotate != "" {
		if _, err := driverkit.Duration(r.Rotate); err != nil {
			return err
		}
	}
	return nil
}

// due is when the value is to be made anew; zero for never.
func (r *record) due() time.Time {
	if r.Rotate == "" {
		return time.Time{}
	}
	after, err := driverkit.Duration(r.Rotate)
	if err != nil { // checkRecord refused it
		return time.Time{}
	}
	return r.Made.Add(after)
}

var alphabets = map[string]string{
	"alphanumeric": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	"hex":          "0123456789abcdef",
	"base64url":    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
	"ascii":        printable(),
}

// printable is ASCII from ! to ~.
func printable() string {
	var b strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}

// generate draws each character evenly from the alphabet.
func generate(length int, alphabet string) ([]byte, error) {
	letters, ok := alphabets[alphabet]
	if !ok || length < 8 || length > 1024 {
		return nil, driverkit.Refuse("make", Kind, fmt.Errorf("length %d of the alphabet %q", length, alphabet), "8 to 1024 of alphanumeric, hex, base64url or ascii")
	}
	value, n := make([]byte, length), big.NewInt(int64(len(letters)))
	for i := range value {
		k, err := rand.Int(rand.Reader, n)
		if err != nil {
			return nil, err
		}
		value[i] = letters[k.Int64()]
	}
	return value, nil
}

// seal encrypts a value for the record.
func (d *Driver) seal(r *record, value []byte) error {
	id, err := d.keys.identity(d.anySecrets)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(sealed{r.Name, r.Version, value})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, id.Recipient())
	if err != nil {
		return err
	}
	if _, err := w.Write(plain); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	r.Fingerprint, r.Sealed = d.Fingerprint(value), out.Bytes()
	return nil
}

// open decrypts the value of a record and checks that it is the one that the
// record tells of. Its errors hold nothing of what was decrypted.
func (d *Driver) open(name string, r *record) (schema.Secret, error) {
	path := d.folder.Path(name)
	id, err := d.keys.identity(d.anySecrets)
	if err != nil {
		return schema.Secret{}, err
	}
	const hint = "restore the record and the key from one backup, or delete the record to have a new value made"
	plain, err := decrypt(bytes.NewReader(r.Sealed), id, 2*MaxSecret)
	if err != nil {
		return schema.Secret{}, driverkit.Refuse("decrypt", path, err, hint)
	}
	var s sealed
	if json.Unmarshal(plain, &s) != nil || s.Name != r.Name || s.Version != r.Version {
		return schema.Secret{}, driverkit.Refuse("decrypt", path, errors.New("the value is not this record's"), hint)
	}
	if !hmac.Equal([]byte(d.Fingerprint(s.Value)), []byte(r.Fingerprint)) {
		return schema.Secret{}, driverkit.Refuse("decrypt", path, errors.New("the value is not the one that the record tells of"), hint)
	}
	return schema.NewSecret(string(s.Value)), nil
}

func decrypt(src io.Reader, id age.Identity, most int64) ([]byte, error) {
	r, err := age.Decrypt(src, id)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(plain)) > most {
		return nil, fmt.Errorf("more than %d bytes", most)
	}
	return plain, err
}

// unwrap decrypts the ciphertext of a declaration.
func (d *Driver) unwrap(handle, ciphertext string) ([]byte, error) {
	id, err := d.keys.identity(d.anySecrets)
	if err != nil {
		return nil, err
	}
	hint := fmt.Sprintf("encrypt it for this environment: age -a -r %s", id.Recipient())
	if len(ciphertext) > 2*MaxSecret {
		return nil, driverkit.Refuse("decrypt", handle, fmt.Errorf("a ciphertext of %d bytes (at most %d)", len(ciphertext), 2*MaxSecret), "")
	}
	value, err := decrypt(armor.NewReader(strings.NewReader(ciphertext)), id, MaxSecret)
	if err != nil {
		var wrong *age.NoIdentityMatchError
		if errors.As(err, &wrong) {
			err = errors.New("it is encrypted for another key")
		}
		return nil, &drivers.Error{Op: "decrypt", Subject: handle, Class: drivers.ErrPermanent, Err: err, Hint: hint}
	}
	if len(value) == 0 || !utf8.Valid(value) {
		return nil, driverkit.Refuse("decrypt", handle, errors.New("the value is empty or not UTF-8 text"), "encode what is not text, with base64 for instance")
	}
	return value, nil
}
