package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// Files of a daemon's data folder. Their names cannot be those of environments,
// whose folders lie beside them.
const (
	homeFile    = "daemon.json"
	homeLog     = "daemon.log"
	homeHistory = "configuration.log"
	sectionFile = "configuration.json" // of an environment: the section that it ran by last
)

// home is the data folder of aplomb run: it holds those of the environments.
type home struct {
	path string
	lock *os.File

	mu     sync.Mutex
	record homeRecord
}

// homeRecord is daemon.json: which environments there are for good, and what
// was in force last.
type homeRecord struct {
	Format        int               `json:"format"`
	Configuration string            `json:"configuration"`     // path of the file
	Environments  map[string]string `json:"environments"`      // ids by name, of those whose folder was made: if it is missing, it is lost
	InForce       json.RawMessage   `json:"inForce,omitempty"` // holds no secret
}

var errRunning = errors.New("another aplomb run works on it")

// openHome opens or makes a daemon's data folder, and holds it until Close.
func openHome(cfg *config.Config) (*home, error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	path, err := filepath.EvalSymlinks(cfg.Data)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(path, recordFile)); err == nil {
		return nil, hinted{fmt.Errorf("data folder %s is one environment's", path), "name the folder above it: the daemon keeps each environment in a folder of its name"}
	}
	lock, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(hinted{fmt.Errorf("data folder %s: %w", path, errRunning), "ask it (aplomb environments), or end it first"}, lock.Close())
	}
	h := &home{path: path, lock: lock}
	if h.record, err = readHome(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, lock.Close())
	}
	h.record.Format, h.record.Configuration = 1, cfg.Path
	if h.record.Environments == nil {
		h.record.Environments = map[string]string{}
	}
	return h, nil
}

// Close lets go of the folder.
func (h *home) Close() error { return h.lock.Close() }

func (h *home) join(name string) string { return filepath.Join(h.path, name) }

func readHome(path string) (homeRecord, error) {
	var r homeRecord
	f, err := os.Open(filepath.Join(path, homeFile))
	if err != nil {
		return r, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, 4*maxRecord))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err == nil && r.Format != 1 {
		err = fmt.Errorf("it has format %d", r.Format)
	}
	if err != nil {
		return r, hinted{fmt.Errorf("data folder %s: read %s: %w", path, homeFile, err), "restore it from a backup: it says which environments there were"}
	}
	return r, nil
}

// daemonOf is the configuration of the daemon whose data folder this is.
func daemonOf(data string) (string, error) {
	r, err := readHome(data)
	return r.Configuration, err
}

// save writes daemon.json again.
func (h *home) save() error {
	b, err := json.MarshalIndent(h.record, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", homeFile, err)
	}
	return replace(h.path, homeFile, append(b, '\n'))
}

// replace writes a file of a folder, whole or not at all.
func replace(dir, name string, data []byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() { _ = root.Close() }()
	if err := atomicfile.Replace(root, name, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// configurationChange is a line of configuration.log: what became of the file,
// when. It names fields, and repeats nothing of them.
type configurationChange struct {
	At      time.Time `json:"at"`
	What    string    `json:"what"` // "in force" or "refused"
	Changed []string  `json:"changed,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// note adds a line to configuration.log.
func (h *home) note(c configurationChange) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write %s: %w", homeHistory, err)
	}
	l := &lumberjack.Logger{Filename: h.join(homeHistory), MaxSize: 1, MaxBackups: logKeep}
	_, err = l.Write(append(b, '\n'))
	if err = errors.Join(err, l.Close()); err != nil {
		return fmt.Errorf("write %s: %w", homeHistory, err)
	}
	return nil
}

// inForce writes down that a configuration came into force, and what it
// changed. Environments that it lacks are known no longer: who adds one again
// may have moved its folder away.
func (h *home) inForce(cfg *config.Config) (changed []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed = config.Diff(h.record.InForce, cfg.JSON)
	if len(changed) == 0 {
		return nil, nil
	}
	h.record.InForce = cfg.JSON
	maps.DeleteFunc(h.record.Environments, func(name, _ string) bool {
		return !slices.ContainsFunc(cfg.Environments, func(e config.Environment) bool { return e.Name == name })
	})
	return changed, errors.Join(h.save(), h.note(configurationChange{At: time.Now(), What: "in force", Changed: changed}))
}

// folder is the data folder of an environment, made where it was never made.
func (h *home) folder(e config.Environment) (*folder, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	path := h.join(e.Name)
	f, err := openFolder(path)
	if errors.Is(err, errNoData) {
		if h.record.Environments[e.Name] == e.ID {
			return nil, hinted{fmt.Errorf("%w, and there was one", err), "restore it from a backup; to begin anew, with nothing owned, give the environment another id"}
		}
		f, err = makeFolderFor(path, record{Format: 1, ID: e.ID, Name: e.Name, Daemon: h.record.Configuration})
	}
	switch {
	case err != nil:
		return nil, err
	case f.ID != e.ID:
		return nil, hinted{fmt.Errorf("data folder %s is of environment %s, and the configuration says %s", path, f.ID, e.ID),
			"put the old id back, or move the folder away to begin another environment"}
	case f.Name != e.Name:
		return nil, hinted{fmt.Errorf("data folder %s is of environment %q", path, f.Name), "an environment keeps its name: call it so in the configuration, and its folder too"}
	}
	if h.record.Environments[e.Name] != e.ID {
		h.record.Environments[e.Name] = e.ID
		err = h.save()
	}
	return f, err
}

// mostChanges is how many changed fields a record of the history names.
const mostChanges = 20

// configured writes into an environment's history what its section changed,
// where it is another one than it ran by last. Who calls it holds the lock.
func (f *folder) configured(ctx context.Context, st *store.Store, e config.Environment, file string) error {
	before, err := os.ReadFile(f.join(sectionFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", sectionFile, err)
	}
	if f.Daemon != file {
		f.Daemon = file
		if err := f.save(); err != nil {
			return err
		}
	}
	changed := config.Diff(before, e.JSON)
	if len(changed) == 0 {
		return nil
	}
	title := strings.Join(changed[:min(len(changed), mostChanges)], ", ")
	if len(before) == 0 {
		title = "first"
	}
	rec := reconciler.Record{At: time.Now(), What: "configured", Title: title}
	if err := st.Finish(ctx, store.Result{History: []any{rec}}); err != nil {
		return err
	}
	return replace(f.path, sectionFile, e.JSON)
}
