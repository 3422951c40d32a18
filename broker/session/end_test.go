package session

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/broker/topic"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// unhurried leaves sessions that end as much time as a busy machine may need.
func unhurried(c *Config) { c.Leave = time.Minute }

// end closes the server, whose sessions must all have ended then.
func (l *loopback) end() {
	l.t.Helper()
	if err := l.server.Close(context.Background()); err != nil {
		l.t.Error(err)
	}
	if n := l.server.Len(); n != 0 {
		l.t.Errorf("%d sessions are left", n)
	}
}

// figures returns those of channel c of topic t.
func (l *loopback) figures() topic.ChannelStats {
	l.t.Helper()
	return l.registry.Lookup("t").LookupChannel("c").Stats()
}

// in receives count messages and returns their ids.
func in(c *prototest.Client, count int) (ids []string) {
	for range count {
		ids = append(ids, c.Next().Message().ID)
	}
	return ids
}

// fins are the answers to messages.
func fins(ids []string) string {
	var text strings.Builder
	for _, id := range ids {
		text.WriteString("FIN " + id + "\n")
	}
	return text.String()
}

// TestAnswersSentBeforeTheEndCount, whatever the connection is wrapped in: they stand in the socket's buffer or in that of a
// layer above it when the session is told to end.
func TestAnswersSentBeforeTheEndCount(t *testing.T) {
	const messages, answered = 1000, 700
	certified := httptest.NewTLSServer(nil)
	cert := certified.TLS.Certificates[0]
	certified.Close()
	for name, tr := range map[string]prototest.Transport{
		"plain": {}, "TLS": {TLS: &tls.Config{InsecureSkipVerify: true}}, "snappy": {Snappy: true}, "deflate": {Deflate: true},
		"TLS and snappy": {TLS: &tls.Config{InsecureSkipVerify: true}, Snappy: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoopback(t, unhurried, func(c *Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}} })
			c := l.dial()
			c.Negotiate(tr, nil)
			c.Send("SUB t c\nRDY 2500\n")
			c.Expect("OK")
			publisher := l.dial()
			for range messages / 100 {
				publisher.Send(prototest.Mpub("t", strings.Split(strings.Repeat("x", 100), "")...))
				publisher.Expect("OK")
			}
			ids := in(c, messages)
			c.Send(fins(ids[:answered]))
			ended := make(chan struct{})
			go func() { defer close(ended); l.end() }()
			c.ExpectClosed()
			c.Conn.Close()
			<-ended
			if s := l.figures(); s.Depth != messages-answered || s.InFlight != 0 {
				t.Errorf("%d of %d are left, %d in flight", s.Depth, messages-answered, s.InFlight)
			}
		})
	}
}

// TestAClientThatIsShownTheEndMayAnswer: stock clients finish what is in work after the broker has closed its side, and only then
// close theirs.
func TestAClientThatIsShownTheEndMayAnswer(t *testing.T) {
	l := newLoopback(t, unhurried)
	c, publisher := l.consumer("c"), l.dial()
	publisher.Send(prototest.Mpub("t", "1", "2", "3", "4", "5"))
	publisher.Expect("OK")
	ids := in(c, 5)
	ended := make(chan struct{})
	go func() { defer close(ended); l.end() }()
	c.ExpectClosed()
	c.Send("RDY 0\nREQ " + ids[0] + " 3600000\nNOP\n" + fins(ids[1:4]))
	c.Send(prototest.Pub("t", "nobody could be told of it"))
	c.Conn.Close()
	<-ended
	if s := l.figures(); s.Depth != 1 || s.Deferred != 1 || s.MessageCount != 5 {
		t.Errorf("%+v", s)
	}
}

// TestPublishesSentBeforeTheEndAreAnswered: a producer gets an answer for each message that was accepted, for no other, and then
// the end. One that never stops to look may find its connection reset before it has read the last of them.
func TestPublishesSentBeforeTheEndAreAnswered(t *testing.T) {
	for name, endless := range map[string]bool{"what it had sent": false, "for good": true} {
		t.Run(name, func(t *testing.T) {
			var change []func(*Config)
			if !endless {
				change = append(change, unhurried)
			}
			l := newLoopback(t, change...)
			l.consumer("c").Send("RDY 0\n")
			p := l.dial()
			p.Send(prototest.Pub("t", "first"))
			p.Expect("OK")
			const batch = 500
			sent, oks := make(chan error, 1), uint64(1)
			p.Send(strings.Repeat(prototest.Pub("t", "x"), batch))
			if endless {
				for range batch { // how much of it is read in the time that it has left depends on the machine
					p.Expect("OK")
					oks++
				}
				go func() {
					var err error
					for err == nil {
						err = p.Write(strings.Repeat(prototest.Pub("t", "x"), batch))
					}
					sent <- err
				}()
			}
			ended := make(chan struct{})
			go func() { defer close(ended); l.end() }()
			for {
				f, err := p.ReadAny()
				if err != nil {
					break
				}
				if string(f.Payload) == "OK" {
					oks++
				} else if f.Type == prototest.Error {
					t.Fatalf("it was told %v", f)
				}
			}
			p.Conn.Close()
			<-ended
			if endless {
				<-sent
			}
			if s := l.figures(); oks > s.MessageCount || !endless && oks != s.MessageCount || oks < batch+1 {
				t.Errorf("%d OK for %d messages, %d were sent for sure", oks, s.MessageCount, batch+1)
			}
		})
	}
}

// TestHalfACommandEndsWithoutAnError: a producer whose message has not arrived whole sees a connection that ends, which it tries
// again on another, and no error that would tell it to give the message up.
func TestHalfACommandEndsWithoutAnError(t *testing.T) {
	for name, sent := range map[string]string{
		"the magic": "  ", "a line": prototest.Magic + "PUB t", "a size": prototest.Magic + "PUB t\n\x00\x00",
		"a body":          prototest.Magic + prototest.Pub("t", "message")[:15],
		"a long body":     prototest.Magic + prototest.Pub("t", strings.Repeat("x", 200<<10))[:150<<10],
		"a part of MPUB":  prototest.Magic + prototest.Mpub("t", "one", "two")[:25],
		"a body of DPUB":  prototest.Magic + "DPUB t 100\n" + prototest.Body("message")[:6],
		"an IDENTIFY":     prototest.Magic + "IDENTIFY\n" + prototest.Body("{}")[:5],
		"nothing at all":  "",
		"nothing further": prototest.Magic,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoopback(t)
			l.consumer("c").Send("RDY 0\n")
			conn, err := net.Dial("tcp", l.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			cmdtest.Eventually(t, "both are served", 10*time.Second, func() bool { return l.server.Len() == 2 })
			l.end()
			if told, err := io.ReadAll(conn); len(told) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("it was told %q, %v", told, err)
			}
			if s := l.figures(); s.MessageCount != 0 {
				t.Errorf("%d messages of half a command", s.MessageCount)
			}
		})
	}
}

// TestAPeerThatTakesNothingIsLeft: it cannot hold up the end.
func TestAPeerThatTakesNothingIsLeft(t *testing.T) {
	l := newLoopback(t)
	l.consumer("c").Send("RDY 0\n")
	l.stuff(l.dial(), func() {})
	l.end()
}

// TestCloseGivesUpWithItsContext.
func TestCloseGivesUpWithItsContext(t *testing.T) {
	l := newLoopback(t)
	l.consumer("c")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.server.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
