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

// BenchmarkObserve is one Observe of 10,000 services of which none changed,
// with checks that have fresh results.
func BenchmarkObserve(b *testing.B) {
	d := newDriver(b)
	dir := filepath.Join(d.Dir, "services")
	drivertest.Must(b, os.MkdirAll(dir, 0o700))
	var items []drivers.Item
	for i := range 10_000 {
		want := service(b, 1+i%60_000)
		name := fmt.Sprintf("s%d", i)
		record := fmt.Sprintf(`{"format":1,"environment":"env-1","spec":%s}`, want.Spec)
		drivertest.Must(b, os.WriteFile(filepath.Join(dir, name+".json"), []byte(record), 0o600))
		items = append(items, drivers.Item{ID: schema.ID{Kind: Kind, Name: name}, Handle: prefix + name, Want: &want, Last: &drivers.Applied{}})
	}
	for b.Loop() {
		if _, err := d.Observe(b.Context(), items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/service")
}
