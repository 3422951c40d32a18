//go:build unix

package broker

import (
	"math"
	"syscall"
)

// descriptorLimit returns how many file descriptors the process may have, 0 when that is not known. Go has raised it to what it may be raised to.
func descriptorLimit() int64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int64(min(uint64(limit.Cur), math.MaxInt32))
}
