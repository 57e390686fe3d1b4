package compile

import (
	"context"
	"errors"
	"path"
	"reflect"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// maxShared bounds how many files all packages of a tree hold together, where
// one that many import counts for each of them.
const maxShared = 1_000_000

// packages gathers every CUE package that has a file in the tree, each with
// what it imports; a file without a package clause stands alone. outside says
// that files outside of the tree have, or could have, a part in one.
func (t *tree) packages(ctx context.Context, d Declarations, known func(cacheKey) *fileResult) (inputs []input, outside bool, err error) {
	root, base := d.Root, path.Clean(d.Path)
	if root == nil {
		root, base = d.FS, "."
	}
	r := cueload.NewReader(root, t.limits.FileBytes)
	r.Skip = func(name string) bool {
		below := relative(base, name)
		return !strings.HasPrefix(below, "../") && t.ignored.match(below, false)
	}
	seen := map[string]bool{}
	shared := 0
	for _, name := range t.cue {
		if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
		b, err := bundleOf(r, path.Join(base, name), seen)
		if err != nil {
			t.unread(base, name, err)
			continue
		}
		if b == nil {
			continue
		}
		if shared += len(b.Files); shared > maxShared {
			t.find(name, "split the tree up", "the CUE packages import more than %d files together", maxShared)
			return inputs, outside, nil
		}
		outside = outside || base != "." && b.Module != base && !strings.HasPrefix(b.Module, base+"/")
		sum := b.Sum()
		in := input{Path: name, Bundle: b, Tree: base, key: keyOf("cue", base+"\x00"+name, sum[:])}
		in.hit = known(in.key)
		inputs = append(inputs, in)
	}
	return inputs, outside, nil
}

// bundleOf gathers the package of a file; nil if that was done already.
func bundleOf(r *cueload.Reader, name string, seen map[string]bool) (*cueload.Bundle, error) {
	pkg, err := r.Package(name)
	if err != nil {
		return nil, &cueload.FileError{Path: name, Err: err}
	}
	if pkg == "" {
		return r.FileBundle(name)
	}
	key := path.Dir(name) + ":" + pkg
	if seen[key] {
		return nil, nil
	}
	seen[key] = true
	return r.Bundle(path.Dir(name), pkg)
}

// unread reports a file that keeps the package of name from being gathered.
func (t *tree) unread(base, name string, err error) {
	var f *cueload.FileError
	if errors.As(err, &f) {
		name, err = relative(base, f.Path), f.Err
	}
	t.find(name, "list it in "+IgnoreFile+" if it is no declaration", "cannot be read: %s", cause(err))
}

// relative is the path of a file as seen from the folder base, both from the
// same root: "../x" where it does not lie in it.
func relative(base, name string) string {
	up := ""
	for base != "." && base != name && !strings.HasPrefix(name, base+"/") {
		up += "../"
		base = path.Dir(base)
	}
	if base == "." {
		return up + name
	}
	return up + strings.TrimPrefix(strings.TrimPrefix(name, base), "/")
}

// size is about how much goes to a worker, in bytes.
func (in input) size() int {
	n := len(in.Data)
	if in.Bundle != nil {
		for _, f := range in.Bundle.Files {
			n += len(f.Data)
		}
	}
	return n
}

// originate notes where declarations come from that stand elsewhere: a package
// declares what it imports, or what files above it say in the same package.
func originate(all []schema.Resource, file string) {
	for i := range all {
		if at := all[i].Pos.File; at != "" && path.Dir(at) != path.Dir(file) {
			all[i].Origin = file
		}
	}
}

// distinct leaves out what is the same declaration once more: a package in a
// folder holds what files above it say in the same package, or a package that
// it embeds. Where one of them is the folder in which it stands, it is that
// one's.
func distinct(all []schema.Resource) []schema.Resource {
	type place struct {
		schema.Pos
		kind, name string
	}
	seen := map[place]int{}
	good := all[:0]
	for _, r := range all {
		at := place{r.Pos, r.ID.Kind, r.ID.Name}
		if i, again := seen[at]; again && r.Spec != nil {
			same := good[i]
			same.Origin = r.Origin
			if reflect.DeepEqual(same, r) {
				if r.Origin == "" {
					good[i].Origin = ""
				}
				continue
			}
		}
		seen[at] = len(good)
		good = append(good, r)
	}
	return good
}
