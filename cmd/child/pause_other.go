//go:build !unix

package child

import "errors"

// Pause fails where a process cannot be paused.
func (p *Process) Pause() error { return errors.ErrUnsupported }

// Resume fails where a process cannot be paused.
func (p *Process) Resume() error { return errors.ErrUnsupported }
