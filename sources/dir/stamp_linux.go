package dir

import (
	"io/fs"
	"syscall"
)

func stampOf(info fs.FileInfo) stamp {
	st := stamp{size: info.Size(), mtime: info.ModTime().UnixNano(), mode: info.Mode()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		st.ctime, st.inode, st.device = sys.Ctim.Nano(), sys.Ino, uint64(sys.Dev)
	}
	return st
}
