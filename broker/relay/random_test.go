package relay_test

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol/prototest"
)

// Whatever happens to links and leads, in whatever order: no client has more at once than it asked for, none that can reach a leader is closed, and in the
// end each message that was published is finished.
func TestRandomMovesLoseNothing(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, 4, func(w *world) { randomMoves(w, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

// credit is how many messages a client of randomMoves asks for at once.
func credit(client int) int { return 1 + client%5 }

func randomMoves(w *world, r *rand.Rand) {
	t := w.t
	w.nodes[3].outside = true
	w.lead(w.nodes[0])
	var calm atomic.Bool // all messages are finished at once
	var all []*client
	for i := range 8 {
		c := w.nodes[i%4].consume(credit(i), `{"msg_timeout":3000}`, nil)
		how := rand.New(rand.NewPCG(r.Uint64(), 2))
		answers := []string{"FIN", "FIN", "FIN", "REQ", "TOUCH", ""}
		c.mu.Lock()
		if i < 4 { // it answers each message once, in time
			answers = answers[:4]
			c.after = func() time.Duration { return time.Duration(how.IntN(300)) * time.Millisecond }
		}
		c.answer = func(prototest.Delivered) string {
			if calm.Load() {
				return "FIN"
			}
			return answers[how.IntN(len(answers))]
		}
		c.mu.Unlock()
		all = append(all, c)
	}
	published := 0
	for range 60 {
		switch r.IntN(6) {
		case 0:
			w.lead(w.nodes[r.IntN(3)])
		case 1: // a link breaks and is there again
			a, b := w.nodes[r.IntN(4)], w.nodes[r.IntN(4)]
			if a != b {
				w.connect(a, b)
			}
		case 2: // the old leader, and others, learn late
			next := w.nodes[r.IntN(3)]
			before := w.leader()
			if next != before {
				old := before.led
				before.led = nil
				w.promote(next)
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
				w.know(next, w.nodes[r.IntN(3)])
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
				old.Drop()
				w.know(next)
			}
		case 3: // nobody leads for a while
			w.endReign()
			w.leader().drop()
			w.know(nil)
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
			w.lead(w.nodes[r.IntN(3)])
			time.Sleep(500 * time.Millisecond) // for those who have to ask: several such periods count as one else
		default:
			n := 1 + r.IntN(20)
			var bodies []string
			for range n {
				bodies = append(bodies, fmt.Sprint(published))
				published++
			}
			w.publish(bodies...)
		}
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
	}
	synctest.Wait()
	calm.Store(true)
	for range 20 { // what clients have not answered, they do not answer any more: it comes again
		time.Sleep(time.Second)
	}
	synctest.Wait()
	finished := map[string]bool{}
	for i, c := range all {
		if c.left() {
			t.Errorf("client %d was closed; it was told %q", i, c.told())
		}
		if i < 4 && c.most > credit(i) {
			t.Errorf("client %d had %d at once, and asked for %d", i, c.most, credit(i))
		}
		for _, m := range c.got {
			finished[string(m.Body)] = true
		}
	}
	if s := w.channel(); len(finished) != published || s.Depth != 0 || s.InFlight != 0 {
		t.Errorf("%d published, %d came; at the leader %+v", published, len(finished), s)
	}
}
