package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// together is one topic that uses everything at once: order by key, deduplication, times to live, delays, bounds, dead letters and their way
// back, retention, rewinds, skips, acts on single messages. Its two channels are there from the beginning to the end.
type together struct {
	*node
	level topic.Level
	tp    *topic.Topic
	next  int
	sent  map[string]*sent            // by body
	keyed map[string]topic.Position   // deduplication keys that were answered, and where their messages are
	tried int                         // messages that were ever published, each as often as it was
	acked int                         // messages that were answered OK and are no duplicates
	out   map[string]map[string]holds // by channel and key: the messages that consumers have
	took  []*taker
}

// sent is a message that was published.
type sent struct {
	key  string // that orders it
	due  time.Time
	done map[string]bool // channels whose consumer has finished it
}

// holds is messages of one key that consumers have, by body, and until when.
type holds map[string]time.Time

// taker is a consumer, and what it has.
type taker struct {
	*topic.Subscription
	channel string
	has     map[protocol.MessageID]string
}

const togetherTimeout = time.Minute

// begin finds the topic, its channels, and what a crash has not taken of its options.
func (w *together) begin() {
	w.node.limit(0)
	w.took, w.out = nil, map[string]map[string]holds{}
	var err error
	if w.tp, err = w.r.Topic("r0"); err != nil {
		w.fail("making the topic: %v", err)
	}
	w.set("", "durability", `"`+w.level.String()+`"`)
	for _, name := range []string{"c0", "c1"} {
		w.out[name] = map[string]holds{}
		if _, err := w.tp.Channel(name); err != nil {
			w.fail("making a channel: %v", err)
		}
	}
	w.set("", "dedup_window", `"10h"`)
}

func (w *together) set(channel, name, value string) {
	changes := map[string]json.RawMessage{name: json.RawMessage(value)}
	var err error
	if channel == "" {
		err = w.tp.SetOptions(changes)
	} else {
		err = w.tp.LookupChannel(channel).SetOptions(changes)
	}
	w.note("%q %s = %s: %v", channel, name, value, err)
	if bad := (*policy.Error)(nil); err != nil && !errors.As(err, &bad) && !w.crash.done() { // some do not go together
		w.fail("%q: setting %s to %s: %v", channel, name, value, err)
	}
	if name == "ordered" {
		w.freeAll()
	}
}

// togetherOptions are what options are set to, time and again; those that begin with / are of channels.
var togetherOptions = map[string][]string{
	"ordered": {"true", "true", "true", "false"}, "ordered_ahead": {"1", "4", "null"},
	"retain_time": {`"1h"`, `"20s"`, "null"}, "retain_bytes": {"4000", `"1GiB"`, "null"},
	"ttl": {`"30s"`, `"10m"`, "null"}, "max_depth": {"20", "null", "null"}, "max_bytes": {"4000", "null", "null"},
	"overflow": {`"reject"`, `"drop-oldest"`, `"dead-letter"`}, "max_attempts": {"1", "3", "null"},
	"backoff": {`"fixed:3s"`, `"exponential:1s..10s"`, `""`}, "trace": {"true", "false"}, "max_in_flight": {"3", "null"},
	"/max_attempts": {"1", "2", "5", "null"}, "/dead_letter": {`""`, `""`, `"discard"`}, "/ttl": {`"10s"`, `"1h"`, "null"},
	"/max_depth": {"5", "30", "null", "null"}, "/max_bytes": {"2000", "null", "null"}, "/overflow": {`"drop-oldest"`, `"dead-letter"`, "null"},
	"/backoff_requeue": {"true", "false"}, "/max_in_flight": {"1", "null"},
}

func (w *together) option() {
	names := slices.Sorted(maps.Keys(togetherOptions))
	name := names[w.rng.IntN(len(names))]
	values := togetherOptions[name]
	channel := ""
	if name[0] == '/' {
		channel = w.channel()
	}
	w.set(channel, strings.TrimPrefix(name, "/"), values[w.rng.IntN(len(values))])
}

func (w *together) channel() string { return fmt.Sprint("c", w.rng.IntN(2)) }

// publish publishes some messages, or repeats what was published.
func (w *together) publish() {
	var b topic.Batch
	var bodies, keys []string
	again := 0
	for range 1 + w.rng.IntN(4) {
		num := w.next
		if w.rng.IntN(6) == 0 && num > 0 {
			num = w.rng.IntN(num)
			again++
		} else {
			w.next++
		}
		body := fmt.Sprintf("m%d-%0*d", num, num*37%250, 0)
		mark := b.Mark()
		b.Add([]byte(body))
		b.Deduplicate(mark, "r0", fmt.Sprint(num), false)
		key := ""
		if num%5 > 0 {
			key = fmt.Sprint("key ", num%4)
		}
		b.Order(mark, key)
		bodies, keys = append(bodies, body), append(keys, key)
	}
	delay := time.Duration(0)
	if w.rng.IntN(4) == 0 {
		delay = time.Duration(1+w.rng.IntN(40)) * time.Second
	}
	if w.rng.IntN(4) == 0 {
		b.TTL = time.Duration(1+w.rng.IntN(60)) * time.Second
	}
	now := time.Now()
	err := w.tp.PublishAs(&b, delay, topic.Disk)
	r := b.Receipt()
	w.note("publish %.5q after %v, ttl %v: %+v %v", bodies, delay, b.TTL, r, err)
	w.tried += len(bodies)
	for i, body := range bodies {
		if w.sent[body] == nil {
			w.sent[body] = &sent{key: keys[i], done: map[string]bool{}}
		}
	}
	if w.crash.done() {
		return // nobody has got that answer
	}
	if err != nil {
		if !topic.Limited(err) {
			w.fail("publishing: %v", err)
		}
		return
	}
	w.acked += r.Count
	w.answered(bodies, r, now.Add(delay))
}

// answered checks the answer to a publish.
func (w *together) answered(bodies []string, r topic.Receipt, due time.Time) {
	pos, list := r.Position, r.Duplicates
	for i, body := range bodies {
		if len(list) > 0 && list[0].Index == i {
			if first, ok := w.keyed[body]; ok && first != list[0].Position {
				w.fail("%.5q is said to repeat position %d, and is at %d", body, list[0].Position, first)
			}
			w.keyed[body] = list[0].Position
			list = list[1:]
			continue
		}
		if first, ok := w.keyed[body]; ok {
			w.fail("%.5q is stored at %d, and is at %d already", body, pos, first)
		}
		w.keyed[body] = pos
		w.sent[body].due = due
		pos++
	}
}

func (w *together) subscribe() {
	if len(w.took) >= 4 {
		return
	}
	name := w.channel()
	s, err := w.tp.Subscribe(name, topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: togetherTimeout})
	if err != nil {
		w.fail("subscribing: %v", err)
	}
	s.SetReady(1 + w.rng.IntN(8))
	w.took = append(w.took, &taker{s, name, map[protocol.MessageID]string{}})
}

// take takes what there is: of each key of an ordered topic one message is out at a time.
func (w *together) take(s *taker) (n int) {
	ordered := w.tp.Policy().Orders()
	for d := (topic.Delivery{}); s.Take(&d) > 0; d.Clear() {
		each(&d, func(f protocol.MessageFrame) {
			n++
			body := string(f.Body())
			m := w.sent[body]
			w.note("%s got %.5q", s.channel, body)
			switch {
			case m == nil:
				w.fail("%s got %.8q, which nobody published", s.channel, body)
			case time.Now().Before(m.due):
				w.fail("%s got %.8q %v early", s.channel, body, time.Until(m.due))
			}
			s.has[f.MustID()] = body
			if !ordered || m.key == "" {
				return
			}
			list := w.out[s.channel][m.key]
			for other, until := range list {
				if other != body && time.Now().Before(until) {
					w.fail("%s got %.8q while %.8q of the same key is out", s.channel, body, other)
				}
			}
			w.out[s.channel][m.key] = holds{body: time.Now().Add(togetherTimeout)}
		})
	}
	return n
}

// free says that a message is out no more, as far as its consumer knows.
func (w *together) free(channel, body string) { delete(w.out[channel][w.sent[body].key], body) }

func (w *together) freeAll() {
	for channel := range w.out {
		w.out[channel] = map[string]holds{}
	}
}

func (w *together) answer(s *taker, all bool) {
	ids := make([]protocol.MessageID, 0, len(s.has))
	for id := range s.has {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		body := s.has[id]
		a := []topic.Answer{{ID: id}}
		switch k := w.rng.IntN(5); {
		case all || k < 2:
		case k == 2:
			a[0].Verb, a[0].Delay = topic.Requeue, time.Duration(w.rng.IntN(3))*10*time.Second
		case k == 3:
			a[0].Verb = topic.Touch
		default:
			continue
		}
		s.Apply(a, nil)
		w.note("%s answered %d to %.5q: %v", s.channel, a[0].Verb, body, a[0].Err)
		if a[0].Verb == topic.Touch {
			if list := w.out[s.channel][w.sent[body].key]; a[0].Err == nil && !list[body].IsZero() {
				list[body] = time.Now().Add(togetherTimeout)
			}
			continue
		}
		delete(s.has, id)
		w.free(s.channel, body)
		if a[0].Err == nil && a[0].Verb == topic.Finish && !w.crash.done() {
			w.sent[body].done[s.channel] = true
		}
	}
}

func (w *together) leave(i int) {
	s := w.took[i]
	for _, body := range s.has {
		w.free(s.channel, body)
	}
	_ = s.Close()
	w.note("a consumer of %s leaves", s.channel)
	w.took = append(w.took[:i:i], w.took[i+1:]...)
}

// act does something to one message, to a channel or to the topic that is no publish and no consumer's.
func (w *together) act() {
	c := w.tp.LookupChannel(w.channel())
	place := w.place(fmt.Sprint("pos:", 1+w.rng.Uint64N(uint64(w.tp.Shown())+2)))
	var err error
	what := w.rng.IntN(14)
	switch what {
	case 0:
		err = w.tp.SetPaused(!w.tp.Paused())
	case 1:
		err = c.SetPaused(!c.Paused())
	case 2, 3:
		_, err = c.Rewind(place, false)
		w.freeAll()
		w.undue()
	case 4:
		_, err = c.Skip(place, w.rng.IntN(2) == 0, false)
		w.freeAll()
	case 5, 6:
		_, err = w.tp.Redrive(c.Name(), topic.RedriveOptions{Limit: w.rng.IntN(5)})
		synctest.Wait()
		w.undue()
	case 7:
		_, err = c.FinishByHand(1 + topic.Position(w.rng.Uint64N(uint64(w.tp.Shown())+1)))
		w.freeAll()
	case 8, 9:
		err = w.reschedule(c)
	case 10:
		if w.rng.IntN(3) == 0 {
			err = c.Empty()
			w.freeAll()
		}
	case 11:
		if d := w.r.Lookup("r0." + c.Name() + ".dlq"); d != nil && w.rng.IntN(4) == 0 {
			err = d.Empty()
		}
	default:
		w.r.Retain()
	}
	w.note("act %d on %s, %v: %v", what, c.Name(), place, err)
	for _, allowed := range []error{topic.ErrKeepsNothing, topic.ErrTooMany, topic.ErrNoMessage, topic.ErrNotDeferred, topic.ErrRedriving, topic.ErrNoLetters} {
		if errors.Is(err, allowed) {
			err = nil
		}
	}
	if err != nil && !w.crash.done() {
		w.fail("act %d: %v", what, err)
	}
}

// reschedule cancels or releases what is deferred.
func (w *together) reschedule(c *topic.Channel) error {
	list, _, err := c.Deferred(w.t.Context(), topic.DueMark{}, 5)
	if err != nil || len(list) == 0 {
		return err
	}
	only := c
	if w.rng.IntN(3) == 0 {
		only = nil
	}
	pos := list[w.rng.IntN(len(list))].Position
	w.freeAll() // what a consumer has put off may be cancelled
	if w.rng.IntN(2) == 0 {
		_, err = w.tp.Cancel(pos, only)
		return err
	}
	w.undue()
	_, err = w.tp.Release(pos, only)
	return err
}

// undue says that messages may come before they are due: one was released, or one that had left while it was deferred is sent back, or read again.
func (w *together) undue() {
	for _, m := range w.sent {
		m.due = time.Time{}
	}
}

func (w *together) step() {
	switch k := w.rng.IntN(30); {
	case k < 8:
		w.publish()
	case k < 10:
		w.subscribe()
	case k < 15 && len(w.took) > 0:
		w.take(w.took[w.rng.IntN(len(w.took))])
	case k < 19 && len(w.took) > 0:
		w.answer(w.took[w.rng.IntN(len(w.took))], false)
	case k == 19 && len(w.took) > 0:
		w.leave(w.rng.IntN(len(w.took)))
	case k < 23:
		w.option()
	case k < 27:
		w.act()
	default:
		time.Sleep(time.Duration(1+w.rng.IntN(8)) * time.Second / time.Duration(1+w.rng.IntN(8)))
	}
	synctest.Wait()
	w.checkSums()
}

// live is one life, which ends in order or not.
func (w *together) live(power bool) {
	w.crash = crash{left: w.rng.IntN(600)}
	stops := w.rng.IntN(4) == 0
	if stops {
		w.crash.left = -1
	}
	if power {
		w.crash.power = rand.New(rand.NewPCG(w.rng.Uint64(), 3))
	}
	w.note("life: crash after %d operations, power cut %v", w.crash.left, power)
	w.disk.Observe(w.tick)
	for range 20 + w.rng.IntN(150) {
		if w.crash.done() {
			break
		}
		w.step()
	}
	if stops && !w.crash.done() {
		for len(w.took) > 0 {
			w.leave(0)
		}
		if err := w.stop(); err != nil {
			w.fail("stopping: %v", err)
		}
		w.note("stopped in order")
	} else {
		w.crash.mu.Lock()
		if w.crash.clone == nil {
			w.cloneLocked()
		}
		w.crash.mu.Unlock()
		for _, s := range w.took {
			_ = s.Close()
		}
		_ = w.stop()
		w.fs = w.crash.clone
		w.note("crashed")
	}
	w.usesOnlyNamed()
	w.crash = crash{left: -1}
	w.start()
	w.begin()
}

// drain takes all bounds and limits away, sends the dead letters back, and has everything finished.
func (w *together) drain() {
	w.note("drain")
	for _, s := range w.took {
		_ = s.Close()
	}
	w.took = nil
	w.freeAll()
	for _, name := range slices.Sorted(maps.Keys(togetherOptions)) {
		channels := []string{""}
		if name[0] == '/' {
			channels = []string{"c0", "c1"}
		}
		if strings.HasPrefix(name, "retain") {
			continue
		}
		for _, channel := range channels {
			w.set(channel, strings.TrimPrefix(name, "/"), "null")
		}
	}
	_ = w.tp.SetPaused(false)
	for _, name := range []string{"c0", "c1"} {
		_ = w.tp.LookupChannel(name).SetPaused(false)
		s, err := w.tp.Subscribe(name, topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: togetherTimeout})
		if err != nil {
			w.fail("subscribing: %v", err)
		}
		s.SetReady(1000)
		w.took = append(w.took, &taker{s, name, map[protocol.MessageID]string{}})
	}
	for round := 0; round < 40 || w.holds() > 0; round++ {
		if round == 400 {
			w.fail("%d messages do not come", w.holds())
		}
		for _, s := range w.took {
			if round == 2 || round == 20 {
				_, _ = w.tp.Redrive(s.channel, topic.RedriveOptions{})
				synctest.Wait()
				w.undue()
			}
			w.take(s)
			w.answer(s, true)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
	}
}

// holds returns how many messages are still somewhere.
func (w *together) holds() (n int) {
	for _, c := range append(w.tp.Channels(), w.tp.Own()) {
		n += c.Stats().Held
	}
	for _, name := range []string{"c0", "c1"} {
		if d := w.r.Lookup("r0." + name + ".dlq"); d != nil {
			n += d.Own().Stats().Held
		}
	}
	return n
}

// checkAll compares what was sent with what the sums say.
func (w *together) checkAll() {
	gone := func(c journal.Counts) (n uint64) { return c.Gone() - c.Finished }
	own := w.tp.Own().Stats().Counts
	for _, name := range []string{"c0", "c1"} {
		s := w.tp.LookupChannel(name).Stats()
		moved, back := uint64(0), uint64(0)
		if d := w.r.Lookup("r0." + name + ".dlq"); d != nil {
			letters := d.Own().Stats().Counts
			moved, back = letters.Accepted, letters.Discarded[journal.Redriven]
		}
		if dead := s.Counts.Discarded[journal.DeadLettered]; moved != dead {
			w.fail("%s: %d messages went to the dead letter topic, which has got %d", name, dead, moved)
		}
		came := s.Counts.Accepted - s.Counts.Replayed - back
		if came+gone(own) < uint64(w.acked) || came > uint64(w.tried) {
			w.fail("%s got %d messages, the topic itself discarded %d, and %d of %d were acknowledged: %+v", name, came, gone(own), w.acked, w.tried, s.Counts)
		}
		missing := 0
		for body := range w.keyed {
			if !w.sent[body].done[name] {
				missing++
			}
		}
		if uint64(missing) > gone(s.Counts)+gone(own) {
			w.fail("%s: %d messages were never finished, and no more than %d were discarded: %+v", name, missing, gone(s.Counts), s.Counts)
		}
	}
	if w.damaged.Load() > 0 {
		w.fail("messages were lost to damage")
	}
}

// checkSpace fails when anything stays on the disk of messages that nobody needs.
func (w *together) checkSpace() {
	w.set("", "retain_time", "null")
	w.set("", "retain_bytes", "null")
	for range 3 {
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.r.Retain()
	}
	if !w.r.Drained() {
		w.fail("%d pieces of messages that nobody needs stay on disk", w.r.OnDisk())
	}
}

func togetherRun(t *testing.T, seed uint64) {
	w := &together{node: newNode(t, seed), level: topic.Disk, sent: map[string]*sent{}, keyed: map[string]topic.Position{}}
	power := w.rng.IntN(3) == 0
	if power {
		w.level = topic.Fsync
	}
	w.begin()
	defer func() { // or the bubble does not end
		if t.Failed() && w.k != nil && w.k.stop != nil {
			_ = w.stop()
		}
	}()
	for range 1 + w.rng.IntN(4) {
		w.live(power)
	}
	w.drain()
	w.checkAll()
	w.checkSpace()
	for len(w.took) > 0 {
		w.leave(0)
	}
	if err := w.stop(); err != nil {
		t.Fatalf("seed %d: closing: %v", seed, err)
	}
	w.start()
	w.begin()
	if n := w.holds(); n > 0 {
		w.fail("%d messages are there again after a stop in order", n)
	}
	w.checkAll()
	if err := w.stop(); err != nil {
		t.Fatalf("seed %d: closing: %v", seed, err)
	}
}

// someCrashes is how many seeds the models take that are dearer than what a usual run has time for: all that were asked for, or a few.
func someCrashes() int {
	if *crashRuns == usualCrashes {
		return usualCrashes / 20
	}
	return *crashRuns
}

// TestEverythingTogether: a topic that uses everything at once, through stops, kills and power cuts. No message is lost but those that are
// counted as discarded, none is stored twice, one of each key is out at a time, each dead letter is there once, and nothing stays on the disk.
func TestEverythingTogether(t *testing.T) {
	for seed := range uint64(someCrashes()) {
		seed += *crashFrom
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { togetherRun(t, seed) })
		})
		if !ok {
			t.FailNow()
		}
	}
}
