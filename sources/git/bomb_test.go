package git

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" // #nosec: the end of a pack is one
	"encoding/binary"
	"errors"
	"testing"

	"github.com/aplomb-dev/aplomb/sources"
)

// packed is a pack of objects of these types and sizes, with what is in them.
func packed(t *testing.T, objects ...packObject) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("PACK")
	b.Write(binary.BigEndian.AppendUint32(nil, 2))
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(objects))))
	for _, o := range objects {
		size := o.size
		first := o.kind<<4 | byte(size&15)
		for size >>= 4; size > 0; size >>= 7 {
			b.WriteByte(first | 0x80)
			first = byte(size & 0x7f)
		}
		b.WriteByte(first)
		b.Write(o.base)
		z := zlib.NewWriter(&b)
		if _, err := z.Write(o.content); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha1.Sum(b.Bytes()) // #nosec
	return append(b.Bytes(), sum[:]...)
}

type packObject struct {
	kind          byte // 3 is a blob, 7 a difference to an object that is named
	size          uint64
	base, content []byte
}

// A small pack that says a lot is refused before anything of it is held: an
// object by its size, and a difference by what it would make.
func TestPackBomb(t *testing.T) {
	varint := func(n ...uint64) (out []byte) {
		for _, v := range n {
			out = binary.AppendUvarint(out, v)
		}
		return out
	}
	make20 := bytes.Repeat([]byte{1}, 20)
	for name, tc := range map[string]struct {
		pack []byte
		want bool
	}{
		"a blob":                {packed(t, packObject{3, 3, nil, []byte("abc")}), true},
		"a large blob":          {packed(t, packObject{3, maxObject + 1, nil, []byte("abc")}), false},
		"behind a small one":    {packed(t, packObject{3, 3, nil, []byte("abc")}, packObject{3, 1 << 40, nil, nil}), false},
		"a large difference":    {packed(t, packObject{7, 7, make20, append(varint(3, maxObject+1), 0x90, 3)[:7]}), false},
		"a difference of none":  {packed(t, packObject{7, 1, make20, []byte{0x80}}), false},
		"a difference too long": {packed(t, packObject{7, 20, make20, bytes.Repeat([]byte{0xff}, 20)}), false},
	} {
		err := mirrored(t).addPack(bytes.NewReader(tc.pack))
		if (err == nil) != tc.want || !tc.want && !errors.Is(err, sources.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
