package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A question is answered whatever cluster the other is of, after both have made sure of each other; one that is refused is told why,
// and one that nobody answers ends with its context.
func TestAsk(t *testing.T) {
	answer := func(from Hello, kind Kind, question []byte) []byte {
		return fmt.Appendf(nil, "%s of %q asks %d: %s", from.Folder, from.Cluster, kind, question)
	}
	asker := func(secret string) *Node {
		n, err := New(Options{Self: Hello{Folder: "x", Name: "x"}, Judge: anybody, Received: (&inbox{}).take, Secret: []byte(secret), Handshake: patience})
		fatal(t, err)
		t.Cleanup(n.Close)
		return n
	}
	judged := make(chan Lane, 100)
	n, err := New(Options{Self: hello("a"), Secret: []byte("s"), Received: (&inbox{}).take, Asked: answer, Handshake: patience,
		Judge: func(h Hello) error { judged <- h.Lane; return nil }})
	fatal(t, err)
	defer n.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	fatal(t, n.Serve(l))
	address := l.Addr().String()

	from, got, err := asker("s").Ask(t.Context(), address, 40, []byte("who?"))
	if err != nil || from.Folder != "a" || string(got) != `x of "" asks 40: who?` {
		t.Errorf("%q of %q, %v", got, from.Folder, err)
	}
	if lane := <-judged; lane != Ask {
		t.Errorf("judged for lane %v", lane)
	}
	if _, _, err := asker("t").Ask(t.Context(), address, 40, nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "secret") {
		t.Errorf("with another secret: %v", err)
	}
	if _, _, err := asker("s").Ask(t.Context(), address, kindPing, nil); !errors.Is(err, ErrFrame) {
		t.Errorf("a kind of the link's own: %v", err)
	}
	if len(n.Linked()) > 0 {
		t.Error("a question has left a link")
	}
	ctx, cancel := context.WithCancel(t.Context())
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	defer silent.Close()
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, _, err := asker("s").Ask(ctx, silent.Addr().String(), 40, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody answers: %v", err)
	}
}

// Each lane is a connection of its own, and what comes over it says so.
func TestEachLaneIsItsOwn(t *testing.T) {
	lanes := make(chan Lane, 100)
	nodes, _ := pair(t, func(i int, o *Options) {
		if i == 1 {
			o.Received = func(_ string, lane Lane, _ Kind, _ uint32, _ []byte, _ bool) { lanes <- lane }
		}
	})
	eventually(t, "all lanes are there", func() bool { return len(nodes[0].Peers()) == 1 && len(nodes[1].Peers()) == 1 })
	for lane := range Ask {
		eventually(t, lane.String()+" carries a frame", func() bool {
			if nodes[0].Send("b", lane, 20, 1) != nil {
				return false
			}
			for {
				select {
				case got := <-lanes:
					if got == lane {
						return true
					}
				case <-time.After(time.Second): // the link has ended, as one may, and the frame with it
					return false
				}
			}
		})
	}
	if err := nodes[0].Send("b", Ask, 20, 1); !errors.Is(err, ErrNoLink) {
		t.Errorf("over the lane of questions: %v", err)
	}
}

// Bulk sends no faster than it may, and ends at once all the same.
func TestBulkIsNoFasterThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, cb := net.Pipe()
		la, lb := newLink(ca, hello("b"), true), newLink(cb, hello("a"), true)
		la.rate = 1 << 20
		got := make(chan int, 100)
		done := make(chan struct{}, 2)
		go func() { _ = la.run(func(Kind, uint32, []byte, bool) {}); done <- struct{}{} }()
		go func() { _ = lb.run(func(_ Kind, _ uint32, p []byte, _ bool) { got <- len(p) }); done <- struct{}{} }()
		began := time.Now()
		for range 5 {
			fatal(t, la.send(soon, 20, 0, make([]byte, 1<<20)))
			time.Sleep(time.Millisecond) // each is a write of its own
		}
		for range 5 {
			<-got
		}
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			t.Errorf("5 MiB at 1 MiB a second took %v", took)
		}
		fatal(t, la.send(soon, 20, 0, make([]byte, 1<<20)))
		synctest.Wait()
		la.close()
		lb.close()
		<-done
		<-done
	})
}

// A node that becomes another one ends its links and is who it says in those that are made then.
func TestBecome(t *testing.T) {
	starts := make(chan uint64, 1000)
	nodes, _ := pair(t, func(i int, o *Options) {
		if i == 1 {
			o.Judge = func(h Hello) error { starts <- h.Starts; return nil }
		}
	})
	eventually(t, "both are connected", func() bool { return len(nodes[0].Peers()) == 1 })
	h := hello("a")
	h.Starts, h.Nonce = 4, 10
	nodes[0].Become(h)
	eventually(t, "the other sees the new start", func() bool {
		for {
			select {
			case n := <-starts:
				if n == 4 {
					return true
				}
			default:
				return false
			}
		}
	})
	eventually(t, "both are connected again", func() bool { return len(nodes[0].Peers()) == 1 && len(nodes[1].Peers()) == 1 })
	nodes[0].Forget("nowhere")
	nodes[1].Cut("a")
	eventually(t, "a link that was cut is made again", func() bool { return len(nodes[0].Peers()) == 1 && len(nodes[1].Peers()) == 1 })
}

// Who has not proven that he knows the secret cannot say that a folder is an old copy.
func TestARefusalOfAStrangerSaysNothingOfTheFolder(t *testing.T) {
	ca, cb := net.Pipe()
	defer ca.Close()
	defer cb.Close()
	go func() {
		if _, err := readFrame(cb, maxHello); err == nil {
			_, _ = cb.Write(appendFrame(nil, kindRefusal, 0, []byte(`{"reason":"old","old":true,"removed":true,"lineage":7}`)))
		}
	}()
	_, err := handshake(ca, true, hello("a"), []byte("a secret"), anybody, patience)
	var r *Refusal
	if !errors.As(err, &r) || r.Old || r.Removed || r.Reason != "old" {
		t.Errorf("%+v", err)
	}
}

// Who refuses another one is not told that he is refused.
func TestARefusalIsToldToWhoIsRefused(t *testing.T) {
	told := [2]chan *Refusal{make(chan *Refusal, 1000), make(chan *Refusal, 1000)}
	pair(t, func(i int, o *Options) {
		o.Refused = func(r *Refusal) { told[i] <- r }
		if i == 0 {
			o.Judge = func(Hello) error { return &Refusal{Reason: "an old copy", Old: true, Lineage: 3} }
		}
	})
	for range 6 { // dialled from both sides
		if r := <-told[1]; !r.Old || r.Lineage != 3 {
			t.Errorf("%+v", r)
		}
	}
	if len(told[0]) > 0 {
		t.Errorf("who refuses is told %+v", <-told[0])
	}
}
