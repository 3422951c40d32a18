//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package appkit

import "os"

// flock does nothing where the system has no such lock.
func flock(*os.File) error { return nil }
