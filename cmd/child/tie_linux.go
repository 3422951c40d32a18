package child

import (
	"os/exec"
	"syscall"
)

// tie has the system kill the child when this process ends without having done so, as one that is killed itself does.
func tie(c *exec.Cmd, apart bool) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: apart, Pdeathsig: syscall.SIGKILL}
}
