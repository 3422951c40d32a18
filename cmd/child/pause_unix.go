//go:build unix

package child

import "syscall"

// Pause has the system not run the child until Resume: it is there, holds its connections and says nothing. It fails with os.ErrProcessDone when
// there is no child.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume has a child that was paused go on, also one that somebody else has paused.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }
