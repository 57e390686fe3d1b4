package local

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// BenchmarkObserveFiles is one Observe of 10,000 files of which none changed.
func BenchmarkObserveFiles(b *testing.B) {
	d := newDriver(b)
	drivertest.Must(b, os.MkdirAll(filepath.Join(d.Root, "a/b"), 0o755))
	var items []drivers.Item
	for i := range 10_000 {
		path := fmt.Sprintf("a/b/f%d", i)
		drivertest.Must(b, os.WriteFile(filepath.Join(d.Root, path), []byte(path), 0o644))
		want := content(b, path, path, "0644")
		items = append(items, drivers.Item{ID: schema.ID{Kind: FileKind, Name: "f"}, Handle: "file/" + path, Want: &want, Last: &drivers.Applied{}})
	}
	for b.Loop() {
		if _, err := d.Observe(b.Context(), items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/file")
}
