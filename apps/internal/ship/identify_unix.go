//go:build unix

package ship

import (
	"os"
	"syscall"
)

// identify returns who a file is.
func identify(info os.FileInfo) identity {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return identity{uint64(s.Dev), s.Ino} //nolint:unconvert // its type differs between systems
	}
	return identity{}
}
