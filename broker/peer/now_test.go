package peer

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// Frames that are written by who sends them, and others, arrive whole and in order, also those that a full socket takes a part of.
func TestFramesThatAreSentNowArriveInOrder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	fatal(t, err)
	b, err := l.Accept()
	fatal(t, err)
	_ = a.(*net.TCPConn).SetWriteBuffer(64 << 10)
	const frames = 1000
	body := bytes.Repeat([]byte("x"), 3000)
	la, lb := newLink(a, Hello{}, true), newLink(b, Hello{}, false)
	var loops sync.WaitGroup
	for i := range frames / 2 { // nobody reads yet
		fatal(t, la.send(when(i%3), FirstFree, uint32(i), body))
	}
	next, all := uint32(0), make(chan struct{})
	loops.Go(func() { _ = la.run(func(Kind, uint32, []byte, bool) {}) })
	loops.Go(func() {
		_ = lb.run(func(_ Kind, stream uint32, payload []byte, _ bool) {
			if stream != next || !bytes.Equal(payload, body) {
				t.Errorf("frame %d of %d bytes, %d is the next", stream, len(payload), next)
			}
			if next++; next == frames {
				close(all)
			}
		})
	})
	for i := frames / 2; i < frames; i++ {
		fatal(t, la.send(when(i%3), FirstFree, uint32(i), body))
	}
	<-all
	la.close()
	lb.close()
	loops.Wait()
}
