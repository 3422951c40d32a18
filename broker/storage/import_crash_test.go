package storage

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

var (
	importRuns = flag.Int("import-runs", 40, "seeded runs of TestImportThroughCrashes")
	importFrom = flag.Uint64("import-from", 1, "first seed of TestImportThroughCrashes")
)

// TestImportThroughCrashes: a queue is taken in by lives that end by kills, power cuts and stops, on a disk that fails at times. When one has said
// that all is in the log its files go; then each message is there, once.
func TestImportThroughCrashes(t *testing.T) {
	for seed := range uint64(*importRuns) {
		seed += *importFrom
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { importRun(t, seed) }) })
		if !ok {
			t.FailNow()
		}
	}
}

// importWorld is a queue that is taken in.
type importWorld struct {
	*node
	messages int
	gone     bool // its files
	over     bool // the log has forgotten it
}

func (w *importWorld) attempts(i int) uint16 { return uint16(i / 3 % 2 * (i % 4)) }

func (w *importWorld) body(i int) string {
	return fmt.Sprint(i, "-", strings.Repeat("x", i*37%100*w.messages))
}

func importRun(t *testing.T, seed uint64) {
	n := newNode(t, seed)
	w := &importWorld{node: n, messages: 1 + n.rng.IntN(60)}
	n.unlimited = true
	n.limit(0)
	defer func() { _ = n.stop() }()
	to, err := n.r.Topic("t0")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"c0", "c1"} {
		if _, err := to.Channel(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.k.sync(); err != nil {
		t.Fatal(err)
	}
	n.faults = true
	for range n.rng.IntN(8) {
		w.life()
	}
	n.faults = false
	n.disk.SetRules()
	time.Sleep(2 * time.Second)
	synctest.Wait()
	n.crash = crash{left: -1}
	if err := w.takeIn(); err != nil {
		n.fail("on a disk that does not fail: %v", err)
	}
	w.expect()
}

// life takes some of the queue in, and ends. What is done behind its end does not count.
func (w *importWorld) life() {
	n := w.node
	synctest.Wait() // nobody is in the midst of writing something
	n.crash = crash{left: n.rng.IntN(120)}
	if n.rng.IntN(2) == 0 {
		n.crash.power = rand.New(rand.NewPCG(n.rng.Uint64(), 3))
	}
	n.disk.Observe(n.tick)
	n.note("life: crash after %d operations, power cut %v", n.crash.left, n.crash.power != nil)
	for range 1 + n.rng.IntN(3) {
		if n.rng.IntN(2) == 0 {
			n.disk.SetRules(n.randomRule())
		}
		if err := w.takeIn(); err == nil {
			break
		} else {
			n.note("importing: %v", err)
		}
		n.disk.SetRules()
		n.advance(time.Duration(n.rng.IntN(3000)) * time.Millisecond)
	}
	n.endLife(n.rng.IntN(2) == 0)
	n.fs = n.crash.clone
	n.start()
}

// takeIn goes on with the queue as a start does.
func (w *importWorld) takeIn() error {
	to, err := w.r.Topic("t0")
	if err != nil {
		return err
	}
	c, err := to.Channel("c0")
	if err != nil {
		return err
	}
	if w.over || w.gone && to.Importing() == "" {
		return nil
	}
	m := to.BeginImport("queue", "source", c)
	switch {
	case w.gone && !m.Done():
		w.fail("the files of a queue are gone, and the log does not know that it has it")
	case !m.Done():
		for i := range w.messages {
			if err := m.Add(int64(i), w.attempts(i), protocol.MessageID(i+1), []byte(w.body(i))); err != nil {
				return err
			}
		}
		if err := m.Finish(); err != nil {
			return err
		}
	}
	if w.crash.done() {
		return nil
	}
	w.note("the files go")
	w.gone = true
	err = m.Forget()
	w.over = err == nil && !w.crash.done()
	return err
}

// expect demands each message of the queue once.
func (w *importWorld) expect() {
	for _, c := range w.r.Lookup("t0").Channels() {
		s, err := w.r.Lookup("t0").Subscribe(c.Name(), topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
		if err != nil {
			w.t.Fatal(err)
		}
		s.SetReady(1000)
		seen := map[string]bool{}
		for round, d := 0, (topic.Delivery{}); round < 20; round++ {
			for s.Take(&d) > 0 {
				each(&d, func(f protocol.MessageFrame) {
					body := string(f.Body())
					if seen[body] {
						w.fail("%.20q came twice", body)
					}
					seen[body] = true
				})
				d.Clear()
			}
			time.Sleep(time.Second)
		}
		if want := map[string]int{"c0": w.messages}[c.Name()]; len(seen) != want {
			w.fail("channel %s has %d messages, want %d", c.Name(), len(seen), want)
		}
		_ = s.Close()
	}
}
