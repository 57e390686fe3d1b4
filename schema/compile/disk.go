package compile

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// The cache on the disk is one file: a header, then records that are appended.
// A record is the key, the length of what follows it and its checksum, and a
// fileResult as JSON. It is written anew, beside and renamed over, once half
// of it is stale or any of it is damaged. It is never synced: what a crash
// tears is noticed by its checksum and made again.
const (
	cacheFile    = "compile.cache"
	cacheMagic   = "aplomb compile cache 1\n"
	recordHead   = len(cacheKey{}) + 8
	maxCacheFile = 1 << 30
	maxRecord    = 256 << 20
	// slack is how many stale bytes are not worth writing the file anew.
	slack = 1 << 20
)

// disk is the packed file. Used by one goroutine at a time.
type disk struct {
	dir     string
	records int   // in the file, stale ones included
	size    int64 // of the file; 0 is a file that must be written anew
}

func (d *disk) path() string { return filepath.Join(d.dir, cacheFile) }

func header() []byte {
	h := worker.Program()
	return append([]byte(cacheMagic+cacheVersion+"\n"), h[:]...)
}

// load reads what is there and ignores what is damaged.
func (d *disk) load() map[cacheKey]*cacheEntry {
	entries := map[cacheKey]*cacheEntry{}
	data, err := d.read()
	if err != nil || !bytes.HasPrefix(data, header()) {
		return entries
	}
	good := true
	size := int64(len(data))
	for data = data[len(header()):]; len(data) > 0; {
		if len(data) < recordHead {
			good = false
			break
		}
		n := int64(binary.BigEndian.Uint32(data[len(cacheKey{}):]))
		sum := binary.BigEndian.Uint32(data[len(cacheKey{})+4:])
		if n > int64(len(data)-recordHead) {
			good = false
			break
		}
		k := cacheKey(data[:len(cacheKey{})])
		body := data[recordHead : recordHead+int(n)]
		data = data[recordHead+int(n):]
		if checksum(k, body) != sum {
			good = false
			continue
		}
		d.records++
		entries[k] = &cacheEntry{packed: body}
	}
	if good {
		d.size = size
	}
	return entries
}

func (d *disk) read() ([]byte, error) {
	f, err := os.Open(d.path())
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxCacheFile+1))
	if len(data) > maxCacheFile {
		return nil, errors.New("too large")
	}
	return data, err
}

func checksum(k cacheKey, body []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(k[:]), crc32.IEEETable, body)
}

// save appends added, or writes all anew.
func (d *disk) save(added, all map[cacheKey]*cacheEntry) error {
	if d.size == 0 || d.records+len(added) > 2*len(all) && d.size > slack || d.size > maxCacheFile/2 {
		return d.rewrite(all)
	}
	if len(added) == 0 {
		return nil
	}
	buf, n, err := pack(nil, added)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.path(), os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, os.ErrNotExist) {
		return d.rewrite(all)
	}
	if err != nil {
		return fmt.Errorf("append to the compile cache: %w", err)
	}
	_, err = f.Write(buf)
	if err = errors.Join(err, f.Close()); err != nil {
		d.size = 0 // a torn end hides what comes after it
		return fmt.Errorf("append to the compile cache: %w", err)
	}
	d.records += n
	d.size += int64(len(buf))
	return nil
}

func (d *disk) rewrite(all map[cacheKey]*cacheEntry) error {
	buf, n, err := pack(header(), all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("write the compile cache: %w", err)
	}
	f, err := os.CreateTemp(d.dir, cacheFile+".*") // 0600
	if err != nil {
		return fmt.Errorf("write the compile cache: %w", err)
	}
	_, err = f.Write(buf)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.path())
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write the compile cache: %w", err)
	}
	d.records, d.size = n, int64(len(buf))
	return nil
}

// pack appends records to buf; n is how many.
func pack(head []byte, entries map[cacheKey]*cacheEntry) (packed []byte, n int, err error) {
	buf := bytes.NewBuffer(head)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	for k, e := range entries {
		r := e.get()
		if r == nil {
			continue
		}
		at := buf.Len()
		buf.Write(k[:])
		buf.Write(make([]byte, 8))
		if err := enc.Encode(r); err != nil {
			return nil, 0, fmt.Errorf("encode for the compile cache: %w", err)
		}
		record := buf.Bytes()[at:]
		body := record[recordHead:]
		if int64(len(body)) > maxRecord {
			buf.Truncate(at)
			continue
		}
		binary.BigEndian.PutUint32(record[len(k):], uint32(len(body)))
		binary.BigEndian.PutUint32(record[len(k)+4:], checksum(k, body))
		n++
	}
	return buf.Bytes(), n, nil
}
