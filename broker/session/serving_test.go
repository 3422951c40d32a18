package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol/prototest"
)

// loopback is a session server behind real sockets with small buffers, as only those can be written to without waiting.
type loopback struct {
	t        *testing.T
	registry *topic.Registry
	server   *Server
	address  string
}

// bufferBytes is asked for on both sides of each connection.
const bufferBytes = 128 << 10

func newLoopback(t *testing.T, change ...func(*Config)) *loopback {
	t.Helper()
	cfg, topics := testConfig()
	for _, c := range change {
		c(&cfg)
	}
	l := &loopback{t: t, registry: topic.NewRegistry(topics)}
	cfg.Topics = l.registry
	l.server = NewServer(cfg)
	l.registry.Start()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.address = listener.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if err := conn.(*net.TCPConn).SetWriteBuffer(bufferBytes); err != nil {
				t.Error(err)
			}
			all.Go(func() { _ = l.server.Serve(conn) }) // tests end connections as they like
		}
	})
	t.Cleanup(func() {
		if err := errors.Join(listener.Close(), l.server.Close(context.Background()), l.registry.Close()); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
	return l
}

func (l *loopback) dial() *prototest.Client {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.address)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(bufferBytes); err != nil {
		l.t.Fatal(err)
	}
	c := prototest.NewClient(l.t, conn)
	c.Send(prototest.Magic)
	return c
}

func (l *loopback) consumer(channel string) *prototest.Client {
	l.t.Helper()
	c := l.dial()
	c.Send("SUB t " + channel + "\nRDY 2500\n")
	c.Expect("OK")
	return c
}

// stuff publishes to topic t over a connection that reads no answers, until the broker reads no more of it, as it cannot answer. between is done now
// and then.
func (l *loopback) stuff(c *prototest.Client, between func()) {
	l.t.Helper()
	pubs := []byte(strings.Repeat(prototest.Pub("t", "x"), 1000))
	for rest := pubs; ; between() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			l.t.Fatal(err)
		}
		n, err := c.Conn.Write(rest)
		if rest = rest[n:]; len(rest) == 0 {
			rest = pubs
		}
		switch {
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			l.t.Fatal(err)
		case err != nil && n == 0 && l.figures().MessageCount > 1000: // it has not only been slow to begin
			return
		}
	}
}

// TestAStuckConsumerHoldsUpNobody: a publisher, which does the work of consumers that it has brought some, goes on when one of them
// does not read; others get their messages, and the stuck one gets all of its own when it reads again.
func TestAStuckConsumerHoldsUpNobody(t *testing.T) {
	l := newLoopback(t)
	stuck, quick, publisher := l.consumer("stuck"), l.consumer("quick"), l.dial()
	const count = 200
	body := func(i int) string { return fmt.Sprintf("%d ", i) + strings.Repeat("x", 20<<10) }
	for i := range count {
		publisher.Send(prototest.Pub("t", body(i)))
		publisher.Expect("OK")
		quick.ExpectMessage(body(i), 1)
	}
	for i := range count {
		stuck.ExpectMessage(body(i), 1)
	}
}

// TestWorkOfAStuckPublisherIsDone: what a publisher was told is accepted reaches its consumers, also when it reads no answers any
// more, so that the broker cannot write to it.
func TestWorkOfAStuckPublisherIsDone(t *testing.T) {
	l := newLoopback(t)
	consumer, publisher := l.consumer("c"), l.dial()
	for i := range 10 { // they work hand in hand
		publisher.Send(prototest.Pub("t", fmt.Sprint(i)))
		publisher.Expect("OK")
		m := consumer.ExpectMessage(fmt.Sprint(i), 1)
		consumer.Send("FIN " + m.ID + "\n")
	}
	received := make(chan int, 100)
	go func() {
		defer close(received)
		for {
			f, err := consumer.Read()
			if err != nil {
				return
			}
			if f.Type == prototest.Message {
				consumer.Send("FIN " + f.Message().ID + "\n")
				received <- 1
			}
		}
	}()
	l.stuff(publisher, func() {
		for len(received) > 0 {
			<-received
		}
	})
	limit := time.After(2 * time.Minute)
	for {
		stats := l.registry.Topics()[0].Channels()[0].Stats()
		if stats.Depth == 0 && stats.InFlight == 0 && stats.MessageCount > 1000 {
			break
		}
		select {
		case <-received:
		case <-time.After(10 * time.Millisecond): // between two looks
		case <-limit:
			t.Fatalf("messages of a publisher that reads no answers do not all arrive: %+v", stats)
		}
	}
	if err := consumer.Conn.Close(); err != nil {
		t.Fatal(err)
	}
	for range received {
	}
}

// TestEachConsumerIsServed: one publish has work for more consumers than a publisher serves itself.
func TestEachConsumerIsServed(t *testing.T) {
	l := newLoopback(t)
	var consumers []*prototest.Client
	for i := range 12 {
		consumers = append(consumers, l.consumer(fmt.Sprintf("c%d", i)))
	}
	publisher := l.dial()
	for i := range 20 {
		publisher.Send(prototest.Pub("t", fmt.Sprint(i)))
		publisher.Expect("OK")
		for _, c := range slices.Backward(consumers) {
			c.ExpectMessage(fmt.Sprint(i), 1)
		}
	}
}

// TestCreditComesBackByAnswers: with a credit of one each message but the first leaves because the one before it was answered.
func TestCreditComesBackByAnswers(t *testing.T) {
	l := newLoopback(t)
	consumer, publisher := l.consumer("c"), l.dial()
	consumer.Send("RDY 1\n")
	publisher.Send(prototest.Mpub("t", "0", "1", "2", "3", "4"))
	publisher.Expect("OK")
	for i := range 5 {
		f := consumer.Next()
		if got := string(f.Message().Body); got != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got)
		}
		consumer.Send("FIN " + f.Message().ID + "\n")
	}
}

// TestLongBodies: a body arrives whole, however it is cut on its way, and whatever stands before and behind it.
func TestLongBodies(t *testing.T) {
	l := newLoopback(t)
	consumer, publisher := l.consumer("c"), l.dial()
	for _, size := range []int{1, directBytes - 1, directBytes, directBytes + 1, bufferSize, 3*bufferSize + 7, 1 << 20} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i * 31)
		}
		sent := prototest.Pub("t", "before") + prototest.Pub("t", string(body)) + prototest.Mpub("t", string(body), "behind")
		for len(sent) > 0 {
			n := min(len(sent), 1+size/3)
			publisher.Send(sent[:n])
			sent = sent[n:]
			runtime.Gosched()
		}
		for range 3 {
			publisher.Expect("OK")
		}
		for _, want := range []string{"before", string(body), string(body), "behind"} {
			m := consumer.Next().Message()
			if string(m.Body) != want {
				t.Fatalf("with %d bytes: a body of %d bytes came, want %d, or others", size, len(m.Body), len(want))
			}
			consumer.Send("FIN " + m.ID + "\n")
		}
	}
}
