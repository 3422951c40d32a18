package peer

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// A frame that is paced waits while too much does before it, until it is sent, its sender gives up, or the link ends.
func TestPacedFramesWaitForThoseBeforeThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := newLink(ours, Hello{}, true)
		over := make(chan error, 1)
		go func() { over <- l.run(func(Kind, uint32, []byte, bool) {}) }()
		body, done := make([]byte, 600), make(chan struct{})
		send := func() error { return l.sendPaced(soon, done, 1000, FirstFree, 1, body) }
		for i := range 3 { // one is being written, two wait
			if err := send(); err != nil {
				t.Fatal(i, err)
			}
			synctest.Wait()
		}
		result := make(chan error, 2)
		go func() { result <- send() }()
		synctest.Wait()
		select {
		case err := <-result:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		close(done)
		if err := <-result; !errors.Is(err, ErrGivenUp) {
			t.Fatalf("given up: %v", err)
		}
		done = make(chan struct{})
		go func() { result <- send() }()
		synctest.Wait()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		if err := <-result; err != nil {
			t.Fatalf("once it is read: %v", err)
		}
		if err := l.sendPaced(soon, done, 1, FirstFree, 1, make([]byte, MaxFrame)); err != nil {
			t.Fatalf("the largest: %v", err)
		}
		if err := l.sendPaced(soon, done, 1, FirstFree, 1, make([]byte, MaxFrame), []byte{1}); !errors.Is(err, ErrFrame) {
			t.Fatalf("a larger one: %v", err)
		}
		l.close()
		if err := send(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("after the end: %v", err)
		}
		theirs.Close()
		<-over
	})
}
