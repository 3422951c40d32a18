package ship

import (
	"os"
	"syscall"
)

// identify returns when a file was made, in nanoseconds, which it keeps when it is renamed.
func identify(info os.FileInfo) identity {
	if s, ok := info.Sys().(*syscall.Win32FileAttributeData); ok {
		return identity{inode: uint64(s.CreationTime.Nanoseconds())}
	}
	return identity{}
}
