//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package nsqdata

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// flock takes the exclusive lock of f without waiting.
func flock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%w: stop that process, or give this one a folder of its own", ErrLocked)
	}
	return err
}
