package compile

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/aplomb-dev/aplomb/schema"
)

// Listing is which files of a tree hold declarations, in lexical order.
type Listing struct {
	Files    []string            // YAML and JSON
	CUE      []string            // CUE
	Findings []schema.Diagnostic // about what could not be looked at
}

// List lists the files that Compile reads, and reads none of them but the
// IgnoreFile.
func List(ctx context.Context, fsys fs.FS) (Listing, error) {
	t, err := scan(ctx, fsys, Limits{}.withDefaults())
	if err != nil {
		return Listing{}, fmt.Errorf("list the declarations: %w", err)
	}
	l := Listing{CUE: t.cue, Findings: t.findings}
	for _, f := range t.files {
		l.Files = append(l.Files, f.path)
	}
	return l, nil
}
