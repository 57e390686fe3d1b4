package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/aplomb-dev/aplomb/internal/detached"
)

// format is the version of the files in the folder.
const format = 1

// group is the content of group.json: what was last told to be so.
type group struct {
	Format int             `json:"format"`
	Owner  string          `json:"owner"`  // environment id
	Serial uint64          `json:"serial"` // counts writes
	Spec   json.RawMessage `json:"spec"`   // a tree; secrets as tokens
	At     time.Time       `json:"at"`

	tree tree
	spec *spec
}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	inode uint64
	size  int64
	mtime time.Time
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), mtime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}

// load brings the entry up to date with the folder; a nil group means that
// there is none. The caller holds e.mu.
func (e *entry) load(dir string) error {
	path := filepath.Join(dir, "group.json")
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		e.stamp, e.group, e.insts = stamp{}, nil, nil
		return nil
	}
	if err != nil {
		return err
	}
	now := stampOf(info)
	if e.group != nil && e.stamp == now {
		return nil
	}
	g, err := readGroup(path)
	if err != nil {
		return err
	}
	insts, err := readInstances(dir)
	if err != nil {
		return err
	}
	e.stamp, e.group, e.insts = now, g, insts
	return nil
}

func readGroup(path string) (*group, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, 2*maxSpec))
	if err != nil {
		return nil, err
	}
	return parseGroup(data)
}

func parseGroup(data []byte) (*group, error) {
	g := &group{}
	if err := json.Unmarshal(data, g); err != nil {
		return nil, fmt.Errorf("group.json: %w", err)
	}
	if g.Format != format {
		return nil, fmt.Errorf("group.json has format %d, this version reads %d", g.Format, format)
	}
	var err error
	if g.tree, err = parseTree(g.Spec); err == nil {
		g.spec, err = g.tree.typed()
	}
	if err != nil {
		return nil, fmt.Errorf("group.json: spec: %w", err)
	}
	return g, nil
}

// writeGroup puts g in its folder, whole or not at all, and durably.
func writeGroup(dir string, g *group) error {
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".group-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err = tmp.Write(append(data, '\n')); err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, "group.json")); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// slot is the place of one instance: its newest run, nil where it has none.
type slot struct {
	run  *detached.Run
	seq  int
	meta meta
	lost time.Time // when a run was first seen without its shim, whose exit nobody wrote
}

// meta is what the driver keeps with every run.
type meta struct {
	Part   json.RawMessage `json:"part"`             // the run fields it was started with, secrets as tokens
	Streak int             `json:"streak,omitempty"` // runs before it that ended soon, in a row
	Owner  string          `json:"owner"`

	hash string
}

func instancesDir(dir string) string { return filepath.Join(dir, "instances") }

func instanceDir(dir string, index int) string {
	return filepath.Join(instancesDir(dir), strconv.Itoa(index))
}

// readInstances finds the newest run of every instance.
func readInstances(dir string) (map[int]*slot, error) {
	found, err := os.ReadDir(instancesDir(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	insts := map[int]*slot{}
	for _, e := range found {
		index, err := strconv.Atoi(e.Name())
		if err != nil || index < 0 || index >= MaxCount || !e.IsDir() {
			continue
		}
		if insts[index], err = readSlot(instanceDir(dir, index)); err != nil {
			return nil, err
		}
	}
	return insts, nil
}

// runs lists the runs of an instance by number, oldest first.
func runs(dir string) ([]int, error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var seqs []int
	for _, e := range found {
		if seq, err := strconv.Atoi(e.Name()); err == nil && seq > 0 && e.IsDir() {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

func runDir(dir string, seq int) string { return filepath.Join(dir, fmt.Sprintf("%06d", seq)) }

func readSlot(dir string) (*slot, error) {
	seqs, err := runs(dir)
	if err != nil {
		return nil, err
	}
	for _, seq := range slices.Backward(seqs) {
		run, err := detached.Open(runDir(dir, seq))
		if errors.Is(err, detached.ErrNoRun) {
			continue // made, and no more
		}
		if err != nil {
			return nil, err
		}
		s := &slot{run: run, seq: seq}
		if s.meta, err = readMeta(run); err != nil {
			return nil, err
		}
		return s, nil
	}
	return &slot{}, nil
}

func readMeta(run *detached.Run) (meta, error) {
	spec, err := run.Spec()
	if err != nil {
		return meta{}, err
	}
	var m meta
	if err := json.Unmarshal(spec.Meta, &m); err != nil {
		return meta{}, fmt.Errorf("meta of a run: %w", err)
	}
	part, err := decodeTree(m.Part)
	if err != nil {
		return meta{}, fmt.Errorf("meta of a run: %w", err)
	}
	m.hash = part.hash()
	return m, nil
}
