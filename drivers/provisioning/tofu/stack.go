package tofu

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

// Files of a stack's folder.
const (
	recordFile  = "stack.json"
	begunFile   = "begun.json"
	secretsFile = "secrets.json"
	initFile    = "init.json"
	varsFile    = "vars.tfvars.json"
	moduleDir   = "module"
	dataDir     = "data"
	stateDir    = "state"
	runDir      = "run"
	planPrefix  = "plan-"
	treeSuffix  = ".tree"
	stateName   = "terraform.tfstate"
)

// Bounds of what is read.
const (
	maxRecord = 16 << 20  // bytes of a record
	maxState  = 256 << 20 // bytes of a state
	maxTree   = 512 << 20 // bytes of a module that was kept
)

// stack is a stack's folder. Whoever writes to it holds the lock of its handle.
type stack struct {
	name, handle, dir string

	lock []byte // of a copy: which providers the tool has chosen for the module; nil: it chooses
}

// record is what is known of a stack since its last apply. It holds no secret.
type record struct {
	Format      int                       `json:"format"`
	Environment string                    `json:"environment"`
	Name        string                    `json:"name"`
	Spec        json.RawMessage           `json:"spec"`    // applied last, secrets as tokens; of an apply that failed only if none was before it
	Files       string                    `json:"files"`   // hash of the module that was applied, or begun, last
	Applied     json.RawMessage           `json:"applied"` // spec of the apply that was begun last: what destroying needs
	Outputs     map[string]drivers.Output `json:"outputs,omitempty"`
	Checks      []string                  `json:"checks,omitempty"` // what failed, for people
	State       string                    `json:"state"`            // hash of the state that this was read of; "" where there is none
	Failed      string                    `json:"failed,omitempty"` // how the last apply failed, for people
}

// begun is an apply from before it starts until its end was taken in.
type begun struct {
	Destroy bool            `json:"destroy,omitempty"`
	Spec    json.RawMessage `json:"spec,omitempty"`
	Files   string          `json:"files,omitempty"`
	Plan    string          `json:"plan"` // name of the saved plan
}

func (s *stack) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// load reads a file of JSON; fs.ErrNotExist where there is none.
func (s *stack) load(name string, v any) error {
	data, err := readBounded(s.path(name), maxRecord)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", records.ErrCorrupt, err)
	}
	return nil
}

// record answers nil where there is none.
func (s *stack) record() (*record, error) {
	var r record
	err := s.load(recordFile, &r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case r.Format != 1 || r.Name != s.name:
		return nil, fmt.Errorf("%w: format %d of %q", records.ErrCorrupt, r.Format, r.Name)
	}
	return &r, nil
}

// store writes a file of JSON, whole and durable.
func (s *stack) store(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(name, append(data, '\n'))
}

func (s *stack) write(name string, data []byte) (err error) {
	if err := records.MakeDir(s.dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return atomicfile.Replace(root, name, data, 0o600)
}

func (s *stack) remove(name string) error {
	err := os.Remove(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// keepTree keeps a module, until another was applied.
func (s *stack) keepTree(tree schema.Tree) error {
	name := tree.Hash() + treeSuffix
	if _, err := os.Stat(s.path(name)); err == nil {
		return nil
	}
	return s.store(name, tree)
}

func (s *stack) tree(hash string) (schema.Tree, error) {
	data, err := readBounded(s.path(hash+treeSuffix), maxTree)
	if err != nil {
		return nil, err
	}
	var tree schema.Tree
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("%w: %w", records.ErrCorrupt, err)
	}
	if tree.Hash() != hash {
		return nil, fmt.Errorf("%w: it is not the module that was kept", records.ErrCorrupt)
	}
	return tree, nil
}

// sweep removes modules and saved plans that are no longer needed.
func (s *stack) sweep() error {
	keep, err := s.kept()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, stays := e.Name(), false
		for _, k := range keep {
			stays = stays || k != "" && strings.TrimSuffix(name, treeSuffix) == k
		}
		if stays || !strings.HasSuffix(name, treeSuffix) && !strings.HasPrefix(name, planPrefix) {
			continue
		}
		if err := s.remove(name); err != nil {
			return err
		}
	}
	return nil
}

// errTorn is a state that is empty or half: it is written in place.
var errTorn = errors.New("the state is empty or half")

// stateHash tells one state from another: "" where there is none, errTorn
// where it is not whole.
func (s *stack) stateHash() (string, error) {
	data, err := readBounded(s.path(stateDir, stateName), maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if len(data) == 0 || !json.Valid(data) {
		return "", errTorn
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

func readBounded(path string, most int64) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", filepath.Base(path), most)
	}
	return data, err
}
