package proposals

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// copied are the edits that make the files of one tree that fit a pattern those
// of another, and the links that are left as they are.
func copied(patterns []schema.Glob, from, to fs.FS) (edits []git.Edit, left []string, err error) {
	news, links, err := fitting(patterns, from)
	if err != nil {
		return nil, nil, err
	}
	olds, more, err := fitting(patterns, to)
	if err != nil {
		return nil, nil, err
	}
	links = append(links, more...)
	slices.Sort(links)
	links = slices.Compact(links)
	total := 0
	for name, mode := range news {
		if slices.Contains(links, name) {
			continue
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, nil, err
		}
		if old, there := olds[name]; there && old == mode {
			was, err := fs.ReadFile(to, name)
			if err != nil {
				return nil, nil, err
			}
			if bytes.Equal(was, data) {
				continue
			}
		}
		if total += len(data); total > git.MaxEdits {
			return nil, nil, fmt.Errorf("the files to be copied hold more than %d bytes", git.MaxEdits)
		}
		edits = append(edits, git.Edit{Path: name, Data: data, Mode: mode})
	}
	for name := range olds {
		if _, stays := news[name]; !stays && !slices.Contains(links, name) {
			edits = append(edits, git.Edit{Path: name, Delete: true})
		}
	}
	slices.SortFunc(edits, func(a, b git.Edit) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
	return edits, links, nil
}

// fitting are the plain files of a tree that fit a pattern, with their modes,
// and the links that do.
func fitting(patterns []schema.Glob, tree fs.FS) (files map[string]fs.FileMode, links []string, err error) {
	files = map[string]fs.FileMode{}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.ContainsFunc(patterns, func(g schema.Glob) bool { return g.Match(name) }) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			files[name] = info.Mode().Perm()
		} else {
			links = append(links, name)
		}
		return nil
	})
	return files, links, err
}
