package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/schema"
)

const whole = 256 << 10

// writeForever updates one file again and again until it is killed.
func writeForever(base string) {
	d := &Driver{Env: "env-1", Root: filepath.Join(base, "root"), Dir: filepath.Join(base, "data"), Fingerprint: drivertest.Fingerprint}
	fmt.Println("writing")
	item := drivers.Item{ID: schema.ID{Kind: FileKind, Name: "f"}, Handle: "file/deep/f", Last: &drivers.Applied{}}
	for i := 0; ; i++ {
		body := strings.Repeat(string(rune('a'+i%26)), whole)
		item.Want = &drivers.Desired{Spec: fmt.Appendf(nil, `{"path":"deep/f","content":%q,"mode":"0644"}`, body)}
		states, err := d.Observe(context.Background(), []drivers.Item{item})
		if err == nil {
			var c drivers.Change
			if c, err = d.Plan(context.Background(), item, states[0]); err == nil {
				_, err = d.Apply(context.Background(), c)
			}
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// Killed at any moment, the file is a whole one, and what was left behind is
// gone once the file is written or deleted.
func TestKilledWhileWriting(t *testing.T) {
	d := newDriver(t)
	base := filepath.Dir(d.Root)
	for round := range 8 {
		cmd := start(t, "TEST_WRITE="+base)
		wait := time.NewTimer(time.Duration(5+7*round) * time.Millisecond)
		<-wait.C
		drivertest.Must(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed
		data, err := os.ReadFile(filepath.Join(d.Root, "deep/f"))
		if os.IsNotExist(err) {
			continue // killed before the first was there
		}
		drivertest.Must(t, err)
		if len(data) != whole || strings.Count(string(data), string(data[:1])) != whole {
			t.Fatalf("the file is torn: %d bytes", len(data))
		}
	}
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "deep/f", "whole again", "0644"))
	c := r.Plan()
	_, err := r.Apply(c)
	drivertest.Must(t, err)
	if left, _ := filepath.Glob(filepath.Join(d.Root, "deep", atomicfile.TempPrefix+"*")); len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
}
