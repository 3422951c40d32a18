package cmdtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Halt stops the process where it is. It does nothing more of its own, but for what a thread of it is in the midst of in the system,
// until it is killed.
func (p *Process) Halt(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGSTOP)
	for range 1000 { // until no thread runs code of its own: those that sleep or run are stopped, others wait for a disk
		if !p.anyThread("RS") {
			return
		}
		<-time.After(20 * time.Microsecond)
	}
	t.Fatalf("%s does not halt", p.Label)
}

// anyThread reports whether a thread of the process is in one of the states that Linux names by these letters.
func (p *Process) anyThread(states string) bool {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.child.PID()))
	if err != nil {
		return false
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it is gone
		}
		if i := bytes.LastIndexByte(text, ')'); i > 0 && len(text) > i+2 && strings.IndexByte(states, text[i+2]) >= 0 {
			return true
		}
	}
	return false
}
