//go:build unix

package grant

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives f the owner that the file had before, as far as this process may. When it may not f stays ours.
func keepOwner(f *os.File, before fs.FileInfo) {
	if s, ok := before.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(s.Uid), int(s.Gid))
	}
}
