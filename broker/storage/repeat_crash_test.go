package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// repeater is producers that repeat every publish that was not answered OK, with the same keys, until it is.
type repeater struct {
	*node
	level   topic.Level
	tp      *topic.Topic
	refused int                           // publishes since the last one that was taken
	next    int                           // number of the next message
	owed    [][]string                    // publishes that have no OK yet
	named   map[string]protocol.MessageID // the one id that each body was ever shown under
	sure    map[string]bool               // bodies that were answered OK
}

// begin finds the topic, makes its channel and sets its window. What of it a crash has taken is done again.
func (r *repeater) begin() {
	r.node.limit(0)
	var err error
	if r.tp, err = r.node.r.Topic("r0"); err == nil {
		_, err = r.tp.Channel("c0")
	}
	if err == nil {
		err = r.tp.SetOptions(map[string]json.RawMessage{"dedup_window": json.RawMessage(`"10h"`), "durability": json.RawMessage(`"` + r.level.String() + `"`)})
	}
	if err != nil && !r.faults && !r.crash.done() {
		r.fail("making the topic: %v", err)
	}
}

// publish publishes a batch once more, or a new one, two producers of the same at the same time now and then.
func (r *repeater) publish() {
	if k := r.rng.IntN(3); len(r.owed) == 0 || k > 0 {
		var bodies []string
		for range 1 + r.rng.IntN(4) {
			bodies = append(bodies, fmt.Sprintf("%d-%0*d", r.next, r.rng.IntN(300), 0))
			r.next++
		}
		r.owed = append(r.owed, bodies)
	}
	i := r.rng.IntN(len(r.owed))
	bodies := r.owed[i]
	both := 1 + r.rng.IntN(2)
	results := make([]error, both)
	var wg sync.WaitGroup
	for k := range both {
		wg.Go(func() {
			var b topic.Batch
			for _, body := range bodies {
				mark := b.Mark()
				b.Add([]byte(body))
				b.Deduplicate(mark, "r0", body, false)
			}
			results[k] = r.tp.Publish(&b)
		})
	}
	wg.Wait()
	r.note("publish %s of %d: %v", bodies[0][:min(6, len(bodies[0]))], len(bodies), results)
	if r.crash.done() { // nobody has got that answer
		return
	}
	for _, err := range results {
		if err == nil {
			for _, body := range bodies {
				r.sure[body] = true
			}
			r.refused = 0
			r.owed = append(r.owed[:i:i], r.owed[i+1:]...)
			return
		}
	}
	time.Sleep(time.Second) // a log that the start has found failing heals by itself
	synctest.Wait()
	if r.refused++; !r.faults && r.refused > 20 {
		r.fail("publishing: %v", results)
	}
}

// consume takes what there is, under one id for good, and finishes some of it.
func (r *repeater) consume() {
	s, err := r.tp.Subscribe("c0", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
	if err != nil {
		return
	}
	s.SetReady(1 + r.rng.IntN(20))
	var d topic.Delivery
	s.Take(&d)
	var answers []topic.Answer
	each(&d, func(f protocol.MessageFrame) {
		r.see(f)
		if r.rng.IntN(2) == 0 {
			answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
		}
	})
	s.Apply(answers, nil)
	_ = s.Close()
}

func (r *repeater) see(f protocol.MessageFrame) {
	body := string(f.Body())
	if id, ok := r.named[body]; ok && id != f.MustID() {
		r.fail("%.8q is there as %v and as %v", body, id, f.MustID())
	}
	r.named[body] = f.MustID()
}

// live is one life with a crash at its end, after which nothing that was not answered is known.
func (r *repeater) live(power, faulty bool) {
	r.vary(faulty)
	if r.crash.power = nil; power {
		r.crash.power = rand.New(rand.NewPCG(r.rng.Uint64(), 3))
	}
	r.start()
	if r.faults { // or the topic's window is not set
		r.openFolders()
		time.Sleep(time.Second)
		synctest.Wait()
	}
	r.begin()
	for range 10 + r.rng.IntN(100) {
		if r.crash.done() {
			break
		}
		switch k := r.rng.IntN(12); {
		case k < 8:
			r.publish()
		case k < 10:
			r.consume()
		case k == 10:
			time.Sleep(time.Duration(r.rng.IntN(4000)) * time.Millisecond)
			synctest.Wait()
		case r.faults:
			r.setFaults()
		}
	}
	r.endLife(false)
	r.fs = r.crash.clone
	r.openFolders()
	r.usesOnlyNamed()
}

// repeatSpans are within which time clocks differ: less than the keys count for.
var repeatSpans = []time.Duration{time.Minute, time.Hour, 4 * time.Hour}

func repeatRun(t *testing.T, seed uint64) {
	r := &repeater{node: &node{seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), messages: map[string]*message{}, ageless: map[string]bool{},
		early: map[string]topic.Position{}}, level: topic.Disk, named: map[string]protocol.MessageID{}, sure: map[string]bool{}}
	if err := r.fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	power := r.rng.IntN(2) == 0
	if power {
		r.level = topic.Fsync
	}
	faulty := r.rng.IntN(3) == 0
	r.lackSome()
	life := func() { r.live(power, faulty) }
	lives := 2 + r.rng.IntN(4)
	if r.spans = repeatSpans; seed%3 == 2 {
		r.clocks = true
		for range lives {
			r.bubble(t, 0, life)
		}
		r.bubble(t, 0, r.last)
		return
	}
	r.bubble(t, 0, func() {
		for range lives {
			life()
		}
		r.last()
	})
}

// last publishes what was not answered, and consumes all that there is, in a life that ends as it should.
func (r *repeater) last() {
	r.vary(false)
	r.crash = crash{left: -1}
	r.start()
	r.begin()
	for len(r.owed) > 0 {
		r.publish()
	}
	s, err := r.tp.Subscribe("c0", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
	if err != nil {
		r.fail("subscribing: %v", err)
	}
	s.SetReady(1000)
	times := map[string]int{}
	var d topic.Delivery
	for s.Take(&d) > 0 {
		var answers []topic.Answer
		each(&d, func(f protocol.MessageFrame) {
			r.see(f)
			times[string(f.Body())]++
			answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
		})
		s.Apply(answers, nil)
		d.Clear()
		time.Sleep(time.Second)
		synctest.Wait()
	}
	for body, n := range times {
		if n > 1 {
			r.fail("%.8q comes %d times", body, n)
		}
	}
	for body := range r.sure {
		if _, seen := r.named[body]; !seen {
			r.fail("%.8q was answered OK and never came", body)
		}
	}
	if err := errors.Join(s.Close(), r.stop()); err != nil {
		r.fail("closing: %v", err)
	}
}

// TestRepeatedPublishesThroughCrashes: producers repeat every publish in doubt, through kills, power cuts and failing disks: each key is in
// the topic once, under one id for good, and whatever was answered OK comes.
func TestRepeatedPublishesThroughCrashes(t *testing.T) {
	for seed := range uint64(*crashRuns) {
		seed += *crashFrom
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { repeatRun(t, seed) })
		if !ok {
			t.FailNow()
		}
	}
}
