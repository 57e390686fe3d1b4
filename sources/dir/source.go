package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/sources"
)

// Defaults of Source.
const (
	DefaultDebounce = 50 * time.Millisecond
	DefaultMaxBytes = 256 << 20
	DefaultMaxFile  = 16 << 20
	DefaultEntries  = 200_000
)

// Source follows the folder at Path. Set its fields before the first call; it
// is safe for concurrent use then. Where the folder holds CUE and is a part of
// a repository or a CUE module, the CUE of that is a part of each revision too,
// since what is declared may import it; Watch does not tell of it, the next
// look does. Names that begin with a dot are left out,
// so are files that editors write beside the real ones. Files are read as
// readers of this process may: what may not be read is an error, not a gap.
type Source struct {
	Path     string                 // the folder; it need not exist yet
	Debounce time.Duration          // how long the folder must be quiet before Watch tells; 0: DefaultDebounce
	Ignore   func(name string) bool // leaves out more, by slash-separated path below Path; nil: nothing more
	MaxBytes int64                  // of all files; 0: DefaultMaxBytes
	MaxFile  int64                  // of one file; 0: DefaultMaxFile
	Entries  int                    // files and folders; 0: DefaultEntries
	Log      logrus.FieldLogger     // nil: silent

	mu    sync.Mutex
	cache map[string]cached // by path: the hashes of files that did not change
	outer map[string]cached // likewise of the CUE around the folder
	taken *copied           // the last copy, for a Fetch of the same revision
}

var (
	_ sources.Source  = (*Source)(nil)
	_ sources.Watcher = (*Source)(nil)
)

// Head reads what changed since the last call and gives the hash of the whole.
// An unchanged folder costs one stat a file.
func (s *Source) Head(ctx context.Context) (sources.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.settled(ctx, false)
	if err != nil {
		return sources.Revision{}, fmt.Errorf("read folder %s: %w", s.Path, err)
	}
	return c.revision(), nil
}

// Fetch copies the folder. Only what is there now can be had: a revision that
// Head gave before a change is sources.ErrGone; ask Head again.
func (s *Source) Fetch(ctx context.Context, rev sources.Revision) (*sources.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == nil || s.taken.id() != rev.ID {
		c, err := s.settled(ctx, true)
		if err != nil {
			return nil, fmt.Errorf("copy folder %s: %w", s.Path, err)
		}
		if c.id() != rev.ID {
			return nil, fmt.Errorf("copy folder %s: %w: it has changed since", s.Path, sources.ErrGone)
		}
		s.taken = c
	}
	snap := &sources.Snapshot{Revision: s.taken.revision(), FS: s.taken.fs(), Close: func() error { return nil }}
	if s.taken.outer != nil {
		snap.Root, snap.Path = s.taken.whole(), s.taken.below
	}
	return snap, nil
}

// attempts is how often a folder that changes under the reader is read anew.
const attempts = 5

// settled reads until nothing changed meanwhile.
func (s *Source) settled(ctx context.Context, keep bool) (*copied, error) {
	for range attempts {
		c, err := s.read(ctx, keep)
		if !errors.Is(err, errMoved) {
			return c, err
		}
	}
	return nil, fmt.Errorf("after %d attempts: %w", attempts, errMoved)
}

var errMoved = errors.New("the folder changes while it is read")

// ignoreFile, at the root, says what is no declaration: it is content, though
// its name begins with a dot.
const ignoreFile = ".aplombignore"

// skip leaves out what is not content.
func (s *Source) skip(name string) bool {
	if name == ignoreFile {
		return false
	}
	base := path.Base(name)
	return strings.HasPrefix(base, ".") || editors(base) || s.Ignore != nil && s.Ignore(name)
}

// editors says whether a name is one that editors use for files of their own:
// backups, swap files, and the number with which vim tries whether it may
// write.
func editors(base string) bool {
	return base == "4913" || strings.HasSuffix(base, "~") || strings.HasSuffix(base, ".swp") ||
		strings.HasSuffix(base, ".swx") || strings.HasPrefix(base, "#") && strings.HasSuffix(base, "#")
}

func (s *Source) root() (*os.Root, error) {
	abs, err := filepath.Abs(s.Path)
	if err != nil {
		return nil, err
	}
	r, err := os.OpenRoot(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", sources.ErrGone, err)
	}
	return r, err
}

func (s *Source) log() logrus.FieldLogger {
	if s.Log != nil {
		return s.Log
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	return quiet
}

func orElse[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
