//go:build unix && !linux

package child

import (
	"os/exec"
	"syscall"
)

// tie puts the child into a process group of its own if it is to be apart. It outlives a parent that is killed.
func tie(c *exec.Cmd, apart bool) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: apart} }
