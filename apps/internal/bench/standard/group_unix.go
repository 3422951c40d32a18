//go:build unix

package standard

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's Ctrl-C from a child: it is stopped once the load has let go of it.
func apart(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
