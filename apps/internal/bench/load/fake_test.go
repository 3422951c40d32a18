package load

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/protocol"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// fake is a broker that does what a test tells it to, right or wrong. It knows one topic and delivers every message to one
// consumer of each channel.
type fake struct {
	// deliver is called with the count of messages so far, from 0, and says how often the message is delivered.
	deliver func(i int) int
	// refuse says whether publish i is answered with an error.
	refuse func(i int) bool
	// stall says how long publish i takes.
	stall func(i int) time.Duration

	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex // guards what follows
	conns    []net.Conn
	channels map[string]net.Conn
	backlog  [][]byte // everything published, for channels whose consumer comes later
	sent     map[string]int
	messages int
	publish  int
	finished int
}

func startFake(t *testing.T, f *fake) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.listener, f.channels, f.sent = listener, make(map[string]net.Conn), make(map[string]int)
	f.wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			f.wg.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return listener.Addr().String()
}

func (f *fake) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	if _, err := io.CopyN(io.Discard, r, int64(len(protocol.Magic))); err != nil {
		return
	}
	channel := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		switch words[0] {
		case "IDENTIFY":
			body(r)
			f.respond(c, protocol.FrameResponse, protocol.OK)
		case "SUB":
			channel = words[2]
			f.respond(c, protocol.FrameResponse, protocol.OK)
		case "RDY":
			f.subscribed(channel, c)
		case "FIN":
			f.mu.Lock()
			f.finished++
			f.mu.Unlock()
		case "CLS":
			f.respond(c, protocol.FrameResponse, protocol.CloseWait)
		case "PUB", "DPUB":
			f.published(c, [][]byte{body(r)})
		case "MPUB":
			var list [][]byte
			limits := protocol.MpubLimits{MaxMsgSize: 1 << 24, MaxBodySize: 1 << 24}
			if err := protocol.WalkMpub(body(r), limits, func(m []byte) error { list = append(list, m); return nil }); err != nil {
				f.respond(c, protocol.FrameError, err.Error())
				return
			}
			f.published(c, list)
		}
	}
}

func body(r io.Reader) []byte {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	io.ReadFull(r, b)
	return b
}

func (f *fake) respond(c net.Conn, t protocol.FrameType, payload string) {
	c.Write(protocol.AppendFrame(nil, t, payload))
}

func (f *fake) subscribed(channel string, c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.channels[channel] == nil {
		f.channels[channel] = c
	}
	f.push(channel)
}

// push delivers what a channel has not got yet; under mu.
func (f *fake) push(channel string) {
	var out []byte
	for ; f.sent[channel] < len(f.backlog); f.sent[channel]++ {
		out = append(out, f.backlog[f.sent[channel]]...)
	}
	f.channels[channel].Write(out)
}

func (f *fake) published(c net.Conn, list [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.publish
	f.publish++
	if f.stall != nil {
		<-time.After(f.stall(i))
	}
	if f.refuse != nil && f.refuse(i) {
		f.respond(c, protocol.FrameError, "E_MPUB_FAILED no space left")
		return
	}
	for _, m := range list {
		times := 1
		if f.deliver != nil {
			times = f.deliver(f.messages)
		}
		for range times {
			frame := protocol.AppendMessageHeader(nil, 1, 1, protocol.MessageID(f.messages), len(m))
			f.backlog = append(f.backlog, append(frame, m...))
		}
		f.messages++
	}
	f.respond(c, protocol.FrameResponse, protocol.OK)
	for channel := range f.channels {
		f.push(channel)
	}
}
