package local

import (
	"context"
	"encoding/binary"
	"time"

	"golang.org/x/sync/errgroup"
)

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Watch hears of files and records that change, and looks now and then who
// listens on the ports that were observed.
func (d *Driver) Watch(ctx context.Context, changed func(handles ...string)) error {
	d.setup()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.watched.Run(ctx, changed) })
	g.Go(func() error { return d.watchPorts(ctx, changed) })
	return g.Wait()
}

func (d *Driver) watchPorts(ctx context.Context, changed func(handles ...string)) error {
	every := d.Poll
	if every == 0 {
		every = 2 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if moved := d.ports.moved(); len(moved) > 0 {
				changed(moved...)
			}
		}
	}
}

// moved are the ports that were taken or left by somebody else since they were
// observed. A record that cannot be read is the files' affair.
func (r *registry) moved() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sockets := r.sockets()
	var moved []string
	for handle, was := range r.known {
		rec, err := r.folder.Get(handle[len(portPrefix):])
		if err != nil {
			continue
		}
		if who, err := sockets.foreign(*rec.Value); err == nil && (who != "") != was {
			moved = append(moved, handle)
		}
	}
	return moved
}
