package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	maxValue  = 64 << 10 // bytes of one value
	ageHeader = "age-encryption.org/v1\n"
)

// checkAge reads the armor and the first line within. What is wrong with them
// is told without repeating any of the text, which may be a plaintext in the
// wrong place.
func checkAge(ciphertext string) error {
	if len(ciphertext) > 2*maxValue {
		return fmt.Errorf("a ciphertext of %d bytes (at most %d)", len(ciphertext), 2*maxValue)
	}
	sealed, err := io.ReadAll(armor.NewReader(strings.NewReader(ciphertext)))
	if err != nil {
		return errors.New("this is no armored age ciphertext")
	}
	if !bytes.HasPrefix(sealed, []byte(ageHeader)) {
		return errors.New("what the armor holds is not encrypted with age")
	}
	return nil
}

// unwrap decrypts the ciphertext of a declaration, in memory.
func (d *Driver) unwrap(handle, ciphertext string) (schema.Secret, error) {
	none := schema.Secret{}
	if err := checkAge(ciphertext); err != nil {
		return none, driverkit.Refuse("decrypt", handle, err, "it is what age -a -r RECIPIENT writes")
	}
	if d.AgeKey == nil {
		return none, &drivers.Error{Op: "decrypt", Subject: handle, Class: drivers.ErrDenied, Err: errors.New("this target has no age key"), Hint: "configure one, and encrypt for it"}
	}
	key, err := d.AgeKey()
	if err != nil {
		return none, &drivers.Error{Op: "read", Subject: "the age key", Class: drivers.ErrDenied, Err: err}
	}
	ids, err := age.ParseIdentities(strings.NewReader(key.Reveal()))
	if err != nil {
		return none, &drivers.Error{Op: "read", Subject: "the age key", Class: drivers.ErrDenied, Err: errors.New("it holds no age identity")}
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(ciphertext)), ids...)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return none, driverkit.Refuse("decrypt", handle, errors.New("it is encrypted for another key"), "encrypt it for the age key of this target")
	}
	if err != nil {
		return none, driverkit.Refuse("decrypt", handle, errors.New("it is damaged"), "encrypt it again")
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxValue+1))
	switch {
	case err != nil:
		return none, driverkit.Refuse("decrypt", handle, errors.New("it is damaged"), "encrypt it again")
	case len(plain) == 0 || len(plain) > maxValue || !utf8.Valid(plain):
		return none, driverkit.Refuse("decrypt", handle, fmt.Errorf("the value is empty, not UTF-8 text, or of more than %d bytes", maxValue), "encode what is not text, with base64 for instance")
	}
	return schema.NewSecret(string(plain)), nil
}
