package vfs

import (
	"os"
	"strconv"
)

// pathOf returns the name that procfs has for a file that is open, see proc_pid_fd(5).
func pathOf(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
