package peer

import (
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// scarce is a listener of a process that has no files left for a while.
type scarce struct {
	net.Listener
	left atomic.Int64 // times that it fails
}

func (l *scarce) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, syscall.EMFILE
	}
	return l.Listener.Accept()
}

// one starts a node at an address that strangers can reach, and returns that.
func one(t *testing.T, wrap func(net.Listener) net.Listener) (n *Node, address string) {
	t.Helper()
	n, err := New(Options{Self: hello("a"), Secret: []byte("s"), Judge: anybody, Received: (&inbox{}).take, Handshake: patience})
	fatal(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	fatal(t, n.Serve(wrap(l)))
	t.Cleanup(n.Close)
	return n, l.Addr().String()
}

// linked waits until another node that dials an address is linked there.
func linked(t *testing.T, n *Node, address string) {
	t.Helper()
	other, err := New(Options{Self: hello("b"), Secret: []byte("s"), Judge: anybody, Received: (&inbox{}).take, Redial: 5 * time.Millisecond, Handshake: patience})
	fatal(t, err)
	t.Cleanup(other.Close)
	other.Dial(address)
	eventually(t, "they are linked", func() bool { return len(n.Peers()) == 1 && len(other.Peers()) == 1 })
}

// TestPeersAreTakenAgainAfterTooManyOpenFiles: an error of the listener that passes does not end it.
func TestPeersAreTakenAgainAfterTooManyOpenFiles(t *testing.T) {
	n, address := one(t, func(l net.Listener) net.Listener {
		s := &scarce{Listener: l}
		s.left.Store(3)
		return s
	})
	linked(t, n, address)
}

// TestStrangersInAHandshakeAreBounded: connections on which nothing is said are closed from a number on, and who is a peer gets in once some have gone.
func TestStrangersInAHandshakeAreBounded(t *testing.T) {
	n, address := one(t, func(l net.Listener) net.Listener { return l })
	var list []net.Conn
	closed := make(chan bool, 2*maxHandshakesHost)
	for range maxHandshakesHost + 10 {
		c, err := net.Dial("tcp", address)
		fatal(t, err)
		defer c.Close()
		list = append(list, c)
		go func() { // which ends with the connection
			_, err := c.Read(make([]byte, 1))
			closed <- err != nil
		}()
	}
	for range 10 {
		select {
		case <-closed:
		case <-time.After(3 * time.Minute):
			t.Fatal("no stranger too many is turned away")
		}
	}
	n.mu.Lock()
	if got := len(n.conns); got != maxHandshakesHost {
		t.Errorf("%d strangers are in a handshake", got)
	}
	n.mu.Unlock()
	for _, c := range list {
		c.Close()
	}
	for range maxHandshakesHost {
		<-closed
	}
	linked(t, n, address)
}
