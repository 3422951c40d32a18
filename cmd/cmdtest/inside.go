package cmdtest

import (
	"bytes"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
)

// Screen is an output that several goroutines may write to, and that can be read meanwhile.
type Screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds p.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// String returns all that was written.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Inside is a command that runs within the test, beside it.
type Inside struct {
	Screen  // all that it writes
	signals chan os.Signal
	ended   chan struct{}
	code    int // read after ended
}

// RunInside starts a command, which run is: it writes to out, takes its signals from the channel and returns its exit code. The test
// ends it at its end, and shows what it wrote if it failed.
func RunInside(t testing.TB, run func(out io.Writer, signals <-chan os.Signal) int) *Inside {
	t.Helper()
	i := &Inside{signals: make(chan os.Signal), ended: make(chan struct{})}
	go func() {
		defer close(i.ended)
		i.code = run(&i.Screen, i.signals)
	}()
	t.Cleanup(func() {
		i.Signal(syscall.SIGTERM)
		<-i.ended
		if t.Failed() {
			t.Log(i.String())
		}
	})
	return i
}

// Signal sends a signal, unless the command has ended.
func (i *Inside) Signal(s os.Signal) {
	select {
	case i.signals <- s:
	case <-i.ended:
	}
}

// Wait waits until the command ends, and returns its exit code.
func (i *Inside) Wait() int {
	<-i.ended
	return i.code
}

// Stop ends the command as an operator does, and expects that all is well.
func (i *Inside) Stop(t testing.TB) {
	t.Helper()
	i.Signal(syscall.SIGTERM)
	if code := i.Wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, i)
	}
}
