package child

import (
	"testing"
	"time"
)

// TestAChildDoesNotOutliveItsParent kills the parent of a daemon, and waits until that is gone as well.
func TestAChildDoesNotOutliveItsParent(t *testing.T) {
	p := newChild(t, "daemon")
	parent := startParent(t, p.Args[1])
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // says that it was killed
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(2 * time.Minute); answers(p); {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatal("the daemon is still there")
		}
	}
}
