//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package appkit

import (
	"os"
	"syscall"
)

func flock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
