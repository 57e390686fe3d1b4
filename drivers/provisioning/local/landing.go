package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// landingRecord says which version a change is about to give to a file whose
// content cannot be known while planning. If a crash keeps the change's end
// from being heard of, the file is known by it to be what was wanted: it is
// neither taken for somebody else's nor written again.
type landingRecord struct {
	Format  int    `json:"format"`
	Nonce   string `json:"nonce"`
	Source  string `json:"source"` // what the content was made of
	Version string `json:"version"`
}

// sourceOf is a hash of what a content is made of; secrets stand as tokens.
func sourceOf(want *drivers.Desired) (string, error) {
	tree, err := driverkit.Tree(want.Spec)
	if err != nil {
		return "", err
	}
	if words, ok := tree.(map[string]any); ok {
		delete(words, "path")
		delete(words, "mode")
	}
	text, err := driverkit.Text(tree)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(text, "\n%s", want.Files.Hash()))
	return hex.EncodeToString(sum[:]), nil
}

// announce writes down what is about to be written, before it is.
func (d *Driver) announce(where place, plan *filePlan, nonce, version string) error {
	if nonce == "" || plan.known || len(under(plan.desired.Secrets)) == 0 {
		return nil
	}
	source, err := sourceOf(plan.desired)
	if err != nil {
		return err
	}
	_, err = d.landings.Replace(pathName(where.abs()), landingRecord{1, nonce, source, version})
	return err
}

// landed is the version that the pending change of an item wrote, or "".
func (d *Driver) landed(where place, it drivers.Item) (string, error) {
	if it.Last != nil || it.Nonce == "" || it.Want == nil || len(it.Want.Secrets) == 0 {
		return "", nil
	}
	rec, err := d.landings.Get(pathName(where.abs()))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", driverkit.Fail("read", d.landings.Path(pathName(where.abs())), err)
	}
	source, err := sourceOf(it.Want)
	if err != nil || rec.Value.Nonce != it.Nonce || rec.Value.Source != source {
		return "", err
	}
	return rec.Value.Version, nil
}
