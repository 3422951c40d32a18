package cmdkit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// reader is who reads a log: Write waits while it is held, and fails with err.
type reader struct {
	held chan struct{} // nil: nothing is held
	mu   sync.Mutex
	got  bytes.Buffer
	err  error
}

func (r *reader) Write(p []byte) (int, error) {
	if r.held != nil {
		<-r.held
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	return r.got.Write(p)
}

func (r *reader) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got.String()
}

func TestLinesComeInOrderAndWhole(t *testing.T) {
	r := &reader{}
	l := newLines(r, func(int) { t.Error("lines were dropped") })
	var want strings.Builder
	for i := range 10_000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.close()
	if r.text() != want.String() {
		t.Errorf("%d bytes of %d were written, or others", len(r.text()), want.Len())
	}
}

// Nobody waits for a reader that has stopped. What it misses is counted, and told once it goes on.
func TestAReaderThatStopsKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{held: make(chan struct{})}
		var l *lines
		l = newLines(r, func(dropped int) { fmt.Fprintf(l, "%d dropped\n", dropped) })
		line := []byte(strings.Repeat("x", 1023) + "\n")
		_, _ = l.Write(line)
		synctest.Wait() // it is being written
		const room = mostLines / 1024
		for range room + 7 {
			_, _ = l.Write(line)
		}
		close(r.held)
		synctest.Wait()
		_, _ = l.Write([]byte("on\n"))
		l.close()
		if got := r.text(); strings.Count(got, "x\n") != 1+room || !strings.HasSuffix(got, "x\n7 dropped\non\n") {
			t.Errorf("%d lines were written, and the end is %q", strings.Count(got, "x\n"), got[len(got)-20:])
		}
	})
}

// What a full disk does not take is told once it does.
func TestLinesThatCannotBeWrittenAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{err: syscall.ENOSPC}
		var l *lines
		l = newLines(r, func(dropped int) { fmt.Fprintf(l, "%d dropped\n", dropped) })
		for range 3 {
			_, _ = l.Write([]byte("lost\n"))
			synctest.Wait()
		}
		r.mu.Lock()
		r.err = nil
		r.mu.Unlock()
		_, _ = l.Write([]byte("on\n"))
		synctest.Wait()
		l.close()
		if got := r.text(); got != "on\n3 dropped\n" {
			t.Errorf("written are %q", got)
		}
	})
}

// A daemon whose log nobody reads serves, stops when it is told to, and ends at once with SIGQUIT.
func TestALogThatNobodyReadsStopsNoEnd(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGQUIT} {
		synctest.Test(t, func(t *testing.T) {
			r := &reader{held: make(chan struct{})}
			signals := make(chan os.Signal, 1)
			f := newFake()
			program := newProgram(f, nil)
			began, code := time.Now(), make(chan int)
			go func() { code <- program.Run(Process{Stderr: r, Stdout: r, Signals: signals}) }()
			synctest.Wait()
			signals <- sig
			want := map[os.Signal]int{syscall.SIGTERM: ExitOK, syscall.SIGQUIT: ExitFailed}[sig]
			if got := <-code; got != want || time.Since(began) > lastLines {
				t.Errorf("%v: exit code %d after %v", sig, got, time.Since(began))
			}
			close(r.held)
		})
	}
}

// The reader of a log that goes, as tee does with Ctrl-C, does not take the daemon along. Only a process has a standard error.
func TestALogWhoseReaderHasGoneEndsNothing(t *testing.T) {
	const inside = "CMDKIT_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		signals := make(chan os.Signal, 1)
		signals <- syscall.SIGTERM
		proc := NewProcess()
		proc.Args, proc.Environ, proc.Signals = nil, nil, signals
		os.Exit(newProgram(newFake(), nil).Run(proc))
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), inside+"=yes")
	child.Stderr = w
	if err := child.Run(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
}
