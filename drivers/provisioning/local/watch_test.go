package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestFileWatch(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "deep/down/f", "x", "0644"))
	r.Observe()
	heard := watching(t, d)
	r.Settle(schema.Create)
	expect(t, heard, "file/deep/down/f")
	path := filepath.Join(d.Root, "deep/down/f")
	for range 2 {
		drain(heard)
		meddle(t, path, "y", "0644")
		expect(t, heard, "file/deep/down/f")
		drain(heard)
		drivertest.Must(t, os.WriteFile(path+"~", []byte("z"), 0o644)) // as editors do
		drivertest.Must(t, os.Rename(path+"~", path))
		expect(t, heard, "file/deep/down/f")
		drain(heard)
		drivertest.Must(t, os.RemoveAll(filepath.Join(d.Root, "deep")))
		expect(t, heard, "file/deep/down/f")
		drain(heard)
		drivertest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755)) // while nobody applies
		drivertest.Must(t, os.WriteFile(path, []byte("theirs"), 0o644))
		expect(t, heard, "file/deep/down/f")
	}
}

func drain(heard <-chan string) {
	for {
		select {
		case <-heard:
		default:
			return
		}
	}
}
