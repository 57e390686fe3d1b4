package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"runtime/debug"
	"sync"

	"github.com/aplomb-dev/aplomb/schema"
)

// Sum is a SHA-256.
type Sum [sha256.Size]byte

// MarshalText is the sum in hex.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(s)) {
		return fmt.Errorf("%d characters are no SHA-256", len(text))
	}
	_, err := hex.Decode(s[:], text)
	return err
}

// Program stands for this program: the embedded schemas and the code that
// applies them, by its revision and the versions of the libraries in it. What
// was made by another one is not to be trusted.
var Program = sync.OnceValue(func() Sum {
	h := sha256.New()
	if info, ok := debug.ReadBuildInfo(); ok {
		_, _ = h.Write([]byte(info.String()))
	}
	_ = fs.WalkDir(schema.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(schema.FS(), name)
		_, _ = h.Write([]byte(name))
		_, _ = h.Write(data)
		return err
	})
	return Sum(h.Sum(nil))
})
