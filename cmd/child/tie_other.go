//go:build !unix

package child

import "os/exec"

// tie does nothing where there are no process groups.
func tie(*exec.Cmd, bool) {}
