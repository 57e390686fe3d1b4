//go:build !linux

package dir

import "io/fs"

// stampOf does without what only some systems tell.
func stampOf(info fs.FileInfo) stamp {
	return stamp{size: info.Size(), mtime: info.ModTime().UnixNano(), mode: info.Mode()}
}
