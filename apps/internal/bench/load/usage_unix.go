//go:build unix

package load

import (
	"io/fs"
	"syscall"
)

// allocated returns the bytes of disk that a file takes, which may be more or less than its length.
func allocated(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}
