package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

// Limits of local.file, in bytes.
const (
	MaxFile  = 16 << 20 // the largest file that is written; a larger one is told by size and time
	MaxShown = 16 << 10 // the largest content that stands in a State or a Change; of more only the size and the change token do
)

const maxListed = 100_000

// liveFile is State.Raw of a file.
type liveFile struct {
	kind  string // "file", "link", "folder", "other"
	print string // change token of the content
	mode  string // "0644"

	landed string // version that the item's pending change wrote, if that cannot be told otherwise
}

func (l liveFile) version() string {
	if l.kind == "file" {
		return l.print + "-" + l.mode
	}
	return l.kind + "-" + l.print
}

// fileCache keeps what was read of each file, so that one that did not change
// is not read again.
type fileCache struct {
	mu sync.Mutex
	by map[string]seenFile // by absolute path
}

type seenFile struct {
	stamp records.Stamp
	shown bool // the state holds the content
	state drivers.State
}

func (c *fileCache) get(abs string, stamp records.Stamp, shown bool) (drivers.State, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.by[abs]
	return s.state, ok && s.stamp == stamp && s.shown == shown
}

// put keeps s, or forgets the path where s is nil.
func (c *fileCache) put(abs string, s *seenFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]seenFile{}
	}
	if s == nil {
		delete(c.by, abs)
		return
	}
	c.by[abs] = *s
}

func (d *Driver) observeFile(rs roots, it drivers.Item) (drivers.State, error) {
	where, err := d.place(it.Handle)
	if err != nil {
		return drivers.State{}, err
	}
	d.watched.Add(where.abs(), it.Handle)
	state, err := d.glance(rs, where, it)
	if err != nil || !state.Exists {
		return state, err
	}
	if live, ok := state.Raw.(liveFile); ok {
		live.landed, err = d.landed(where, it)
		state.Raw = live
	}
	return state, err
}

// glance answers from memory if the very file that was read before is there
// unchanged, whichever way its path leads to it; else it looks step by step.
func (d *Driver) glance(rs roots, where place, it drivers.Item) (drivers.State, error) {
	show := shows(it)
	if info, err := os.Lstat(where.abs()); err == nil {
		if state, ok := d.files.get(where.abs(), records.StampOf(info), show); ok {
			return state, nil
		}
	}
	root, err := rs.open(where.base)
	if errors.Is(err, fs.ErrNotExist) {
		return drivers.State{}, nil
	}
	if err != nil {
		return drivers.State{}, driverkit.Fail("open", where.base, err)
	}
	return d.look(root, where, it.Handle, show)
}

// shows says whether the live content may be told: never of a file that holds
// or held a secret, nor of one that was never ours, since whoever may declare
// a path could read any file by it.
func shows(it drivers.Item) bool {
	if it.Last == nil || schema.HasToken(string(it.Last.Spec)) {
		return false
	}
	return it.Want == nil || len(it.Want.Secrets) == 0 && !schema.HasToken(string(it.Want.Spec))
}

// look answers the state of a file, from memory if it did not change.
func (d *Driver) look(root *os.Root, where place, handle string, show bool) (drivers.State, error) {
	info, err := root.Lstat(where.rel)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		d.files.put(where.abs(), nil)
		return drivers.State{Handle: handle}, nil
	}
	if err != nil {
		return drivers.State{}, driverkit.Fail("look at", where.abs(), err)
	}
	stamp, at := records.StampOf(info), time.Now()
	if state, ok := d.files.get(where.abs(), stamp, show); ok {
		return state, nil
	}
	state, err := d.read(root, where, info, show)
	if err != nil {
		return drivers.State{}, driverkit.Fail("read", where.abs(), err)
	}
	state.Handle = handle
	if stamp.Settled(at) {
		d.files.put(where.abs(), &seenFile{stamp, show, state})
	}
	return state, nil
}

func (d *Driver) read(root *os.Root, where place, info fs.FileInfo, show bool) (drivers.State, error) {
	live := liveFile{kind: kindOf(info.Mode()), mode: modeText(info.Mode())}
	content := ""
	switch {
	case live.kind == "link":
		target, err := root.Readlink(where.rel)
		if err != nil {
			return drivers.State{}, err
		}
		live.print = d.Fingerprint([]byte(target))
	case live.kind == "file" && info.Size() <= MaxFile:
		data, err := readSame(root, where.rel, info)
		if err != nil {
			return drivers.State{}, err
		}
		live.print = d.Fingerprint(data)
		if show {
			content = shownText(data, live.print)
		}
	case live.kind == "file":
		live.print = d.Fingerprint(fmt.Appendf(nil, "%d bytes of %d", info.Size(), info.ModTime().UnixNano()))
	}
	if !show && live.kind == "file" {
		content = schema.Token(live.print)
	}
	return d.state(where, live, content)
}

// state words what was read as a spec and outputs.
func (d *Driver) state(where place, live liveFile, content string) (drivers.State, error) {
	words := map[string]any{"path": d.declared(where)}
	if live.kind == "file" {
		words["content"], words["mode"] = content, live.mode
	}
	spec, err := driverkit.Text(words)
	if err != nil {
		return drivers.State{}, err
	}
	state := drivers.State{Version: live.version(), Exists: true, Spec: spec, Health: drivers.Health{Status: drivers.Healthy}, Raw: live}
	if live.kind == "file" {
		state.Outputs, err = outputs(where, live.version())
	}
	return state, err
}

// outputs are the outputs of a file; an unknown version is left out.
func outputs(where place, version string) (map[string]drivers.Output, error) {
	out := map[string]drivers.Output{}
	for name, v := range map[string]string{"path": where.abs(), "version": version} {
		if v == "" {
			continue
		}
		text, err := driverkit.Text(v)
		if err != nil {
			return nil, err
		}
		out[name] = drivers.Output{Value: text}
	}
	return out, nil
}

func (d *Driver) declared(where place) string {
	if where.base == d.Root {
		return where.rel
	}
	return where.abs()
}

// readSame reads the very file that was looked at: what took its place since,
// such as a link or a pipe, is neither followed nor waited for.
func readSame(root *os.Root, rel string, info fs.FileInfo) (_ []byte, err error) {
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	now, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, now) {
		return nil, &drivers.Error{Op: "read", Subject: rel, Class: drivers.ErrWaiting, Err: errors.New("it is being replaced")}
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		return nil, &drivers.Error{Op: "read", Subject: rel, Class: drivers.ErrWaiting, Err: errors.New("it grows while it is read")}
	}
	return data, err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "folder"
	case m&fs.ModeSymlink != 0:
		return "link"
	default:
		return "other"
	}
}

func modeText(m fs.FileMode) string {
	bits := uint32(m.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return fmt.Sprintf("%04o", bits)
}

// shownText is content as a State or a Change tells it.
func shownText(data []byte, print string) string {
	if len(data) <= MaxShown && utf8.Valid(data) {
		return string(data)
	}
	return fmt.Sprintf("[%d bytes, %s]", len(data), print)
}

func (d *Driver) listFiles(ctx context.Context) ([]drivers.State, error) {
	var states []drivers.State
	err := filepath.WalkDir(d.Root, func(p string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir() && p != d.Root:
			if _, err := d.place(filePrefix + strings.TrimPrefix(p, d.Root+"/")); err != nil {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular() || atomicfile.IsTemp(e.Name()):
			return nil
		case len(states) == maxListed:
			return fs.SkipAll
		}
		rel, info := strings.TrimPrefix(p, d.Root+"/"), fs.FileInfo(nil)
		if info, err = e.Info(); err != nil {
			return nil // gone meanwhile
		}
		spec, err := json.Marshal(map[string]string{"path": rel, "mode": modeText(info.Mode())})
		states = append(states, drivers.State{Handle: filePrefix + rel, Exists: true, Spec: spec})
		return err
	})
	if err != nil {
		return nil, driverkit.Fail("list", d.Root, err)
	}
	return states, nil
}
