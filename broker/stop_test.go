package broker_test

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

// greedy is a consumer that answers at once whatever it gets, until its connection ends, and counts what it got and finished, by
// the bodies, which are numbers.
type greedy struct {
	finished map[int]int // how often
	ended    chan struct{}
}

func newGreedy(t *testing.T, c *prototest.Client, finished map[int]int) *greedy {
	g := &greedy{finished: finished, ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		for {
			f, err := c.Read()
			if err != nil {
				return
			}
			if f.Type != prototest.Message {
				continue
			}
			m := f.Message()
			number, err := strconv.Atoi(string(m.Body))
			if err != nil {
				t.Error(err)
			}
			if c.Write("FIN "+m.ID+"\n") == nil {
				g.finished[number]++
			}
		}
	}()
	return g
}

// TestACleanStopUnderFullLoadRepeatsNothing: consumers with much in flight that answer without a pause get nothing again, and
// nothing that was acknowledged is missing.
func TestACleanStopUnderFullLoadRepeatsNothing(t *testing.T) {
	t.Parallel()
	for _, level := range []broker.Durability{levelMemory, levelDisk, levelFsync} {
		t.Run(level.String(), func(t *testing.T) {
			o := options(t)
			o.Durability, o.ShutdownTimeout = level, 10*time.Minute // a tenth of it is waited for their answers
			n := startWith(t, o)
			n.post("/topic/create?topic=t", "")
			n.post("/channel/create?topic=t&channel=c", "")
			finished, acked, next := map[int]int{}, map[int]bool{}, 0
			for range 4 {
				var consumers []*greedy
				for range 3 {
					consumers = append(consumers, newGreedy(t, n.subscribe("t", "c", 500), map[int]int{}))
				}
				published := make(chan struct{})
				producer := n.dial()
				go func() {
					defer close(published)
					for first := next; ; first = next {
						bodies := make([]string, 100)
						for i := range bodies {
							bodies[i] = strconv.Itoa(next)
							next++
						}
						if producer.Write(prototest.Mpub("t", bodies...)) != nil {
							return
						}
						if f, err := producer.ReadAny(); err != nil || string(f.Payload) != "OK" {
							return
						}
						for i := first; i < next; i++ {
							acked[i] = true
						}
					}
				}()
				eventually(t, "messages flow", func() bool { c := n.channel("t", "c"); return c.MessageCount > 5000 })
				n.stop()
				<-published
				producer.Conn.Close()
				for _, g := range consumers {
					<-g.ended
					for number, times := range g.finished {
						finished[number] += times
					}
				}
				n = startWith(t, o)
			}
			last := newGreedy(t, n.subscribe("t", "c", 500), finished)
			eventually(t, "nothing is left", func() bool { c := n.channel("t", "c"); return c.Depth+int64(c.InFlightCount) == 0 })
			n.stop()
			<-last.ended
			again, lost := 0, 0
			for _, times := range finished {
				again += times - 1
			}
			for number := range acked {
				if finished[number] == 0 {
					lost++
				}
			}
			t.Logf("%d acknowledged, %d finished, %d of them again, %d lost", len(acked), len(finished), again, lost)
			if again > 0 || lost > 0 || len(acked) < 10000 {
				t.Errorf("of %d acknowledged messages %d were finished twice, %d were lost", len(acked), again, lost)
			}
		})
	}
}

// TestAStopDoesNotWaitForGood for consumers that do not answer: what they have comes again after the start, as their second
// attempt.
func TestAStopDoesNotWaitForGood(t *testing.T) {
	t.Parallel()
	for _, level := range []broker.Durability{levelMemory, levelDisk} {
		t.Run(level.String(), func(t *testing.T) {
			o := options(t)
			o.Durability = level
			n := startWith(t, o)
			c := n.subscribe("t", "c", 2)
			n.publish("t", "1", "2", "3")
			m := c.ExpectMessage("1", 1)
			c.ExpectMessage("2", 1)
			c.Send("FIN " + m.ID + "\n")
			c.ExpectMessage("3", 1)
			n.publish("t", "4")
			n = again(t, n, o)
			got := map[string]uint16{}
			for c, i := n.subscribe("t", "c", 10), 0; i < 3; i++ {
				m := c.Next().Message()
				got[string(m.Body)] = m.Attempts
			}
			if got["2"] != 2 || got["3"] != 2 || got["4"] != 1 {
				t.Errorf("came again, with attempts: %v", got)
			}
		})
	}
}

// TestARequestThatHangsHoldsUpNoStop: a body that does not come, and an answer that takes an hour, are dropped, and all is saved.
func TestARequestThatHangsHoldsUpNoStop(t *testing.T) {
	t.Parallel()
	o := options(t)
	n := startWith(t, o)
	n.publish("t", "1")
	for _, request := range []string{
		"POST /pub?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
		"GET /debug/pprof/profile?seconds=3600 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", n.HTTPAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
	}
	n.get("/ping")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // less than either would take
	defer cancel()
	n.running = false
	n.http.CloseIdleConnections()
	if err := n.Shutdown(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
	startWith(t, o).subscribe("t", "c", 1).ExpectMessage("1", 1)
}

// TestPublishesAreTakenWhileAStopWaits for a consumer: over connections that are there, and over HTTP.
func TestPublishesAreTakenWhileAStopWaits(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.ShutdownTimeout = 20 * time.Minute // a tenth of it is waited for the consumer
	n := startWith(t, o)
	c, p := n.subscribe("t", "c", 1), n.dial()
	n.publish("t", "1")
	m := c.ExpectMessage("1", 1)
	stopped := make(chan struct{})
	go func() { defer close(stopped); n.stop() }()
	eventually(t, "nobody can connect any more", func() bool {
		conn, err := net.Dial("tcp", n.TCPAddr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	p.Send(prototest.Pub("t", "2"))
	p.Expect("OK")
	if got := n.get("/stats?topic=t"); !strings.Contains(got, "c") {
		t.Error(got)
	}
	n.publish("t", "3")
	c.Send("FIN " + m.ID + "\n")
	c.ExpectClosed()
	<-stopped
	c = startWith(t, o).subscribe("t", "c", 2)
	c.ExpectMessage("2", 1)
	c.ExpectMessage("3", 1)
}
