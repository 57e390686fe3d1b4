package git

import (
	"os"

	"golang.org/x/sys/unix"
)

// durable waits until all that was written to dir's file system would survive
// a crash: one call for all the objects of a fetch.
func durable(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
