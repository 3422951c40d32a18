package tail

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"brokerd/protocol"
)

// fake is a broker that has so many messages of one channel for one consumer, and counts what it hears of each. No time is up at it.
type fake struct {
	address string

	mu       sync.Mutex
	conn     net.Conn
	bodies   []string // that were not delivered yet
	ready    int
	touched  map[string]int // by id, of what is in flight
	finished int
	nops     int
}

func startFake(t *testing.T, bodies []string) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{address: listener.Addr().String(), bodies: bodies, touched: map[string]int{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.serve(conn)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		f.mu.Lock()
		if f.conn != nil {
			f.conn.Close()
		}
		f.mu.Unlock()
		serving.Wait()
	})
	return f
}

// serve speaks with a consumer until it leaves.
func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	f.mu.Lock()
	f.conn = conn
	f.mu.Unlock()
	r := bufio.NewReader(conn)
	if _, err := r.Discard(len("  V2")); err != nil {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if words[0] == "IDENTIFY" {
			var size [4]byte
			if _, err := io.ReadFull(r, size[:]); err != nil {
				return
			}
			if _, err := r.Discard(int(binary.BigEndian.Uint32(size[:]))); err != nil {
				return
			}
		}
		f.mu.Lock()
		f.heard(words)
		f.mu.Unlock()
	}
}

// heard does what the consumer says. f.mu is held.
func (f *fake) heard(words []string) {
	switch words[0] {
	case "IDENTIFY", "SUB":
		f.say(protocol.FrameResponse, "OK")
	case "CLS":
		f.say(protocol.FrameResponse, "CLOSE_WAIT")
	case "NOP":
		f.nops++
	case "TOUCH":
		f.touched[words[1]]++
	case "FIN":
		delete(f.touched, words[1])
		f.finished++
	case "RDY":
		f.ready, _ = strconv.Atoi(words[1])
	}
	for ; len(f.bodies) > 0 && len(f.touched) < f.ready; f.bodies = f.bodies[1:] {
		id := protocol.MessageID(len(f.bodies))
		f.touched[id.String()] = 0
		frame := protocol.AppendMessageHeader(nil, 1, 1, id, len(f.bodies[0]))
		_, _ = f.conn.Write(append(frame, f.bodies[0]...)) // who has gone says no more
	}
}

func (f *fake) say(t protocol.FrameType, text string) {
	_, _ = f.conn.Write(protocol.AppendFrame(nil, t, text))
}

// held reports whether the consumer has messages in hand, and each of them was touched so often.
func (f *fake) held(times int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.touched {
		if n < times {
			return false
		}
	}
	return len(f.touched) > 0
}
