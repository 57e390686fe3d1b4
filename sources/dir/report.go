package dir

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/aplomb-dev/aplomb/sources"
)

// Reporter writes reports as files under Root, a folder for each environment.
// Each file is replaced as a whole; equal content writes nothing. It may be
// used concurrently for different environments.
type Reporter struct {
	Root string // is made when it is missing
}

var _ sources.Reporter = Reporter{}

// MaxReport bounds one report, in bytes.
const MaxReport = 64 << 20

// Report writes the files that differ. Files that an earlier report wrote and
// this one does not have stay. An error may leave some files of the report
// written, never a part of a file.
func (r Reporter) Report(ctx context.Context, rep sources.Report) error {
	if err := r.report(ctx, rep); err != nil {
		return fmt.Errorf("write report of %s below %s: %w", rep.Environment, r.Root, err)
	}
	return nil
}

func (r Reporter) report(ctx context.Context, rep sources.Report) error {
	if err := checkReport(rep); err != nil {
		return err
	}
	if err := os.MkdirAll(r.Root, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range sorted(rep.Files) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := replace(root, path.Join(rep.Environment, name), rep.Files[name]); err != nil {
			return err
		}
	}
	return nil
}

// checkReport wants names that stay inside their folder.
func checkReport(rep sources.Report) error {
	if !fs.ValidPath(rep.Environment) || path.Base(rep.Environment) != rep.Environment || rep.Environment == "." {
		return fmt.Errorf("%q cannot name a folder", rep.Environment)
	}
	total := 0
	for name, data := range rep.Files {
		if !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("%q cannot name a file of a report", name)
		}
		total += len(data)
	}
	if total > MaxReport {
		return fmt.Errorf("%d bytes, %d are allowed", total, MaxReport)
	}
	return nil
}

func sorted(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func replace(root *os.Root, name string, data []byte) (err error) {
	if info, err := root.Lstat(name); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(data)) {
		if now, err := root.ReadFile(name); err == nil && bytes.Equal(now, data) {
			return nil
		}
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	temp := path.Join(path.Dir(name), ".new-"+rand.Text())
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temp))
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return root.Rename(temp, name)
}
