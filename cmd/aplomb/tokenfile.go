package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/schema"
)

// maxToken bounds a file that holds a token, in bytes.
const maxToken = 64 << 10

// secretFile is a file that holds a secret on one line. It is read at each use,
// so that it can be replaced while the daemon runs.
type secretFile struct {
	path string
	log  logrus.FieldLogger // hears once that others may read it; nil: nobody does

	once sync.Once
}

// read is the secret, without the space around it.
func (s *secretFile) read() (schema.Secret, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return schema.Secret{}, fmt.Errorf("read the token: %w", err)
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err == nil && st.Mode().Perm()&0o077 != 0 && s.log != nil {
		s.once.Do(func() {
			s.log.WithFields(logrus.Fields{"file": s.path, "mode": fmt.Sprintf("%04o", st.Mode().Perm())}).Warn("others may read or write a file that holds a secret")
		})
	}
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	text := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return schema.Secret{}, fmt.Errorf("read the token: %w", err)
	case len(b) > maxToken:
		err = fmt.Errorf("it is larger than %d KiB", maxToken>>10)
	case text == "":
		err = errors.New("it is empty")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		err = errors.New("it does not hold one line")
	}
	if err != nil {
		return schema.Secret{}, fmt.Errorf("read the token: %s: %w", s.path, err)
	}
	return schema.NewSecret(text), nil
}

// orNone is how a driver reads its token: nil where none is configured.
func (s *secretFile) orNone() func() (schema.Secret, error) {
	if s.path == "" {
		return nil
	}
	return s.read
}
