package channel

import (
	"bytes"
	"testing"
	"time"

	"brokerd/broker/inflight"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// plain returns a model of a channel without options and consumers.
func plain(t *testing.T) *model {
	w := newModel(t, 1)
	w.m.rules.TopologyAware = false
	w.m.SetPolicy(nil, nil, false, false)
	return w
}

// put publishes messages with bodies of so many bytes, which are shown; keys are of no message, or of each.
func (w *model) put(sizes []int, keys ...uint32) {
	w.t.Helper()
	var frames []byte
	for i, size := range sizes {
		pos := w.next + Position(i)
		at := len(frames)
		frames = protocol.AppendMessageHeader(frames, w.m.At.Stamp, 1, protocol.MessageID(pos), size)
		frames = append(frames, make([]byte, size)...)
		w.frames[pos], w.states[pos] = bytes.Clone(frames[at:]), waits
		if keys != nil {
			w.keys[pos] = keys[i]
		}
	}
	at, _ := w.tail.Append(frames)
	at = w.tail.Note(at, w.next, len(sizes))
	if keys != nil {
		w.tail.NoteSums(at, keys)
	}
	w.next += Position(len(sizes))
	w.m.Accept(at, len(sizes))
	w.show()
}

// with adds a consumer with so much credit.
func (w *model) with(ready int) *modelConsumer {
	c := &modelConsumer{}
	c.Consumer = Consumer{Owner: c, Ref: c}
	w.m.Join(&c.Consumer, time.Minute, false)
	w.m.SetReady(&c.Consumer, ready)
	w.consumers = append(w.consumers, c)
	w.kept()
	return c
}

// says answers one message.
func (w *model) says(c *modelConsumer, verb Verb, id protocol.MessageID, delay time.Duration) {
	w.t.Helper()
	list := []Answer{{ID: id, Verb: verb, Delay: delay}}
	if w.m.Answer(&c.Consumer, list, nil, nil); list[0].Err != nil {
		w.t.Fatal(list[0].Err)
	}
	w.kept()
}

// due returns when what is deferred is due, from now.
func (w *model) due() time.Duration {
	at, _ := w.m.Deadline()
	return time.Duration(at - w.m.At.Now)
}

func backoff(t *testing.T, text string) *policy.Backoff {
	b, err := policy.ParseBackoff(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHowLongWhatIsPutBackWaits: as long as its consumer says, which the node bounds; where he says nothing, or less, the channel's backoff counts, if it is
// for that.
func TestHowLongWhatIsPutBackWaits(t *testing.T) {
	for _, c := range []struct {
		requeue     bool
		asked, want time.Duration
	}{
		{true, 0, 7 * time.Second}, {true, -time.Second, 7 * time.Second}, {true, 3 * time.Second, 3 * time.Second}, {true, 2 * time.Hour, time.Hour},
		{false, 0, 0}, {false, -time.Second, 0}, {false, 3 * time.Second, 3 * time.Second},
	} {
		w := plain(t)
		w.m.SetPolicy(&policy.Policy{Backoff: backoff(t, "fixed:7s"), BackoffRequeue: c.requeue}, nil, false, false)
		w.put([]int{4})
		one := w.with(1)
		w.take(one)
		w.says(one, Requeue, 1, c.asked)
		if s := w.m.Stats(); (s.Deferred == 1) != (c.want > 0) || c.want > 0 && w.due() != c.want {
			t.Errorf("%+v: %d are deferred, due in %v", c, s.Deferred, w.due())
		}
	}
}

// TestBytesOfWhatIsHeld are exact: small messages that are finished leave the large ones.
func TestBytesOfWhatIsHeld(t *testing.T) {
	w := plain(t)
	w.m.SetPolicy(&policy.Policy{MaxBytes: 1 << 20}, nil, true, false)
	w.put([]int{10, 10, 1000})
	one := w.with(3)
	w.take(one)
	for i, want := range []int64{1010, 1000, 0} {
		w.says(one, Finish, protocol.MessageID(i+1), 0)
		if n := w.m.Fullness().Bytes; n != want {
			t.Errorf("%d are finished: %d bytes, want %d", i+1, n, want)
		}
	}
}

// TestTheTurnOfWhatWasOutBeforeKeysCounted: its key is looked for when it comes back, at once or after a delay, and it is not out beside another of its key.
func TestTheTurnOfWhatWasOutBeforeKeysCounted(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Second} {
		w := plain(t)
		w.put([]int{4, 4}, 7, 7)
		one := w.with(1)
		w.take(one)
		w.m.SetPolicy(nil, &policy.Policy{Ordered: true}, false, false)
		w.kept()
		two := w.with(1)
		w.take(two) // nobody knows that the first is of its key
		w.says(one, Requeue, 1, delay)
		w.pass(int64(2 * time.Second))
		w.take(one)
		if n := w.m.InFlight(); n != 1 {
			t.Errorf("put back for %v: %d messages of one key are out", delay, n)
		}
		w.says(two, Finish, 2, 0)
		if w.take(one) != 1 {
			t.Errorf("put back for %v: it does not come", delay)
		}
	}
}

// TestWhatIsPutAsideKeepsItsDeliveries: a message that came back, and waits for its key's turn, is delivered for the second time then.
func TestWhatIsPutAsideKeepsItsDeliveries(t *testing.T) {
	w := plain(t)
	w.put([]int{4, 4}, 7, 7)
	one := w.with(1)
	w.take(one)
	w.m.SetPolicy(nil, &policy.Policy{Ordered: true}, false, false)
	w.kept()
	two := w.with(1)
	w.take(two)
	w.says(one, Requeue, 1, 0)
	w.take(one)
	if s := w.m.Stats(); s.Aside != 1 {
		t.Fatalf("%+v", s)
	}
	w.says(two, Finish, 2, 0)
	var d Delivery
	for range 2 {
		if n, fill := w.m.Take(&one.Consumer, &d, true, false); n == 0 && fill {
			f := w.m.BeginFill()
			for _, s := range f.Retries {
				f.Loaded = append(f.Loaded, Retry{Frame: w.frames[s.Pos], Pos: s.Pos, Turn: uint64(s.At), Attempts: s.Attempts, Key: w.keys[s.Pos]})
			}
			w.m.EndFill(&f)
		}
	}
	if d.N != 1 || d.Runs[0].Attempts != 2 {
		t.Errorf("%d messages come, %+v", d.N, d.Runs)
	}
}

// TestWhatIsKeptForLongIsACopy: it does not hold all that came with it.
func TestWhatIsKeptForLongIsACopy(t *testing.T) {
	node := make([]byte, 1000)
	if f := owned(node[:200:1000]); cap(f) > 400 || &f[0] == &node[0] {
		t.Errorf("a small part keeps %d bytes", cap(f))
	}
	if f := owned(node[:400:1000]); &f[0] != &node[0] {
		t.Error("a good part is copied")
	}
}

// TestNobodyGetsASecondMessageInAFlood, and whoever has none gets one.
func TestNobodyGetsASecondMessageInAFlood(t *testing.T) {
	w := plain(t)
	w.put([]int{4, 4, 4})
	one, two := w.with(1), w.with(5)
	w.take(one)
	w.m.SetReady(&one.Consumer, 5)
	w.m.At.Flooded = true
	if n, m := w.take(one), w.take(two); n != 0 || m == 0 {
		t.Errorf("who has a message gets %d more, who has none %d", n, m)
	}
}

// TestTwoMessagesWithOneID: the second is given another one, so that both can be finished; other channels have it as it was.
func TestTwoMessagesWithOneID(t *testing.T) {
	w := plain(t)
	frames := protocol.AppendMessageHeader(nil, 1, 1, 77, 1)
	frames = append(frames, 'a')
	frames = protocol.AppendMessageHeader(frames, 1, 1, 77, 1)
	frames = append(frames, 'b')
	at, _ := w.tail.Append(frames)
	at = w.tail.Note(at, 1, 2)
	w.states[1], w.states[2], w.next = waits, waits, 3
	w.m.Accept(at, 2)
	w.show()
	one := w.with(2)
	w.take(one)
	if !bytes.Equal(at.Frames(), frames) {
		t.Error("what others have has changed")
	}
	if len(one.has) != 2 || one.has[0] != 77 || one.has[1] == 77 {
		t.Errorf("told are %v", one.has)
	}
	var ids []protocol.MessageID
	w.m.Abandon(&one.Consumer, func(id protocol.MessageID, left time.Duration) {
		if ids = append(ids, id); left != time.Minute {
			t.Errorf("%v for %v", id, left)
		}
	})
	if len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("in flight are %v", ids)
	}
}

// TestHowLongIsLeftOfWhatIsOver is nothing, and not less.
func TestHowLongIsLeftOfWhatIsOver(t *testing.T) {
	w := plain(t)
	w.put([]int{4})
	one := w.with(1)
	w.take(one)
	w.m.At.Now += int64(time.Hour)
	w.m.Abandon(&one.Consumer, func(_ protocol.MessageID, left time.Duration) {
		if left != 0 {
			t.Errorf("%v", left)
		}
	})
}

// TestByHandNothingIsFoundThatNobodyMaySee: what is deferred, and not shown yet or withdrawn, is neither cancelled nor released.
func TestByHandNothingIsFoundThatNobodyMaySee(t *testing.T) {
	w := plain(t)
	w.put([]int{4})
	place := inflight.Place{At: w.m.At.Now + int64(time.Hour), Pos: 2, Off: inflight.NoOffset}
	w.states[2] = out
	w.m.DeferPlace(place, 40)
	w.kept()
	if w.m.Cancel(2, &place) || w.m.Release(2, &place) {
		t.Error("a message is found that is not shown yet")
	}
	w.m.setVoid([]journal.Range{{First: 2, Last: 2}})
	w.m.At.Shown = 2
	if w.m.Cancel(2, &place) || w.m.Release(2, &place) {
		t.Error("a message is found that was withdrawn")
	}
	w.m.setVoid(nil)
	if w.m.At.Floor = 2; !w.m.Cancel(2, &place) || len(w.m.cancelled()) != 1 {
		t.Errorf("what is kept and was dropped: %v", w.m.cancelled())
	}
	w.kept()
}

// TestJumpsOfTheClock: by how much the clock was set since a message was stamped. Behind one that went back stamps come twice, and ids tell.
func TestJumpsOfTheClock(t *testing.T) {
	const s = int64(time.Second)
	back, on := Jump{By: -10 * s, At: 100 * s, From: 50}, Jump{By: 20 * s, At: 300 * s, From: 90}
	for _, c := range []struct {
		stamp int64
		id    protocol.MessageID
		want  int64
		rough int64 // by the stamp alone, which takes what is not known for younger
	}{
		{99 * s, 60, 10 * s, 10 * s}, {100*s - 1, 60, 10 * s, 10 * s},
		{100 * s, 40, 20 * s, 20 * s}, {100*s + s/2, 40, 20 * s, 20 * s}, // of either side: for younger
		{105 * s, 49, 10 * s, 20 * s}, {105 * s, 50, 20 * s, 20 * s},
		{110 * s, 40, 20 * s, 20 * s}, {200 * s, 60, 20 * s, 20 * s},
		{290*s - 1, 95, 20 * s, 20 * s}, {290 * s, 80, 0, 0}, {300 * s, 95, 0, 0},
	} {
		list := Jumps{back, on}
		f := protocol.MessageFrame(protocol.AppendMessageHeader(nil, c.stamp, 1, c.id, 0))
		if by := list.since(f); by != c.want {
			t.Errorf("stamped %v, id %d: %v, want %v", time.Duration(c.stamp), c.id, time.Duration(by), time.Duration(c.want))
		}
		if by := list.SinceStamp(c.stamp); by != c.rough {
			t.Errorf("stamped %v: %v, want %v", time.Duration(c.stamp), time.Duration(by), time.Duration(c.rough))
		}
	}
}

// TestWhoWaitsIsWoken for what another has put back, who takes nothing more himself.
func TestWhoWaitsIsWoken(t *testing.T) {
	w := plain(t)
	w.put([]int{4})
	one := w.with(1)
	w.take(one)
	w.m.SetReady(&one.Consumer, 0)
	two := w.with(1)
	w.take(two)
	two.on = false
	if w.says(one, Requeue, 1, 0); !two.on {
		t.Error("a consumer that waits is not told of what comes back")
	}
}

// TestWhatIsHeldBackIsSent: consumers that get nothing any more are woken, as what they have may wait to be sent together with more.
func TestWhatIsHeldBackIsSent(t *testing.T) {
	w := plain(t)
	w.put([]int{4})
	one := w.with(1)
	w.take(one)
	w.m.SetReady(&one.Consumer, 0)
	one.on = false
	if w.hold(true); !one.on {
		t.Error("who has a message, and no credit any more, is not woken")
	}
}

// TestAChannelThatIsDeletedGoesOnce: its last consumer, who leaves then, does not delete it again.
func TestAChannelThatIsDeletedGoesOnce(t *testing.T) {
	for _, exits := range []bool{false, true} {
		w := plain(t)
		w.m.ephemeral = true
		one := w.with(1)
		if exits {
			w.m.Exit()
		}
		if last := w.m.Leave(&one.Consumer); last == exits {
			t.Errorf("deleted before %v: it is to go %v", exits, last)
		}
	}
}

// TestWhatComesBackGoesBehindSoMany: messages as the channel has in memory, however many wait, and also where its body must be read first.
func TestWhatComesBackGoesBehindSoMany(t *testing.T) {
	for _, size := range []int{4, largeBody} {
		w := plain(t)
		w.m.rules.MemQueueSize = 10
		w.put([]int{size})
		w.put(make([]int, 50))
		one := w.with(1)
		came := 0
		for n := 0; n < 50 && came == 0; n++ {
			w.take(one)
			id, verb := one.has[0], Finish
			switch one.has = nil; {
			case n == 0:
				verb = Requeue
			case id == 1:
				came = n
			}
			w.says(one, verb, id, 0)
		}
		if came != 11 {
			t.Errorf("of %d bytes: it comes after %d others", size, came-1)
		}
	}
}

// TestADeadLetterSaysHowOftenItWasDelivered: it was, before the limit was lowered.
func TestADeadLetterSaysHowOftenItWasDelivered(t *testing.T) {
	w := plain(t)
	w.put([]int{4})
	one := w.with(1)
	for range 3 {
		w.take(one)
		w.says(one, Requeue, 1, 0)
	}
	w.m.SetPolicy(&policy.Policy{MaxAttempts: 2, DeadLetter: "letters"}, nil, false, false)
	w.take(one)
	if g := w.m.graves; g == nil || g.waiting.Len() != 1 || g.waiting.At(0).Attempts != 3 {
		t.Errorf("%+v", w.m.Stats())
	}
}

// TestSamplesAreAsManyAsWereAskedFor: of 100 numbers those below the percentage.
func TestSamplesAreAsManyAsWereAskedFor(t *testing.T) {
	w := plain(t)
	next := -1
	w.m.rules.Random = func(int) int { next++; return next }
	w.put(make([]int, 100))
	one := &modelConsumer{}
	one.Consumer = Consumer{Owner: one, Ref: one, Sample: 30}
	w.m.Join(&one.Consumer, time.Minute, false)
	w.m.SetReady(&one.Consumer, 100)
	w.consumers = append(w.consumers, one)
	w.rest()
	if len(one.has) != 30 {
		t.Errorf("%d of 100", len(one.has))
	}
}

// TestAPublisherThatWaitsForAllThereIsComes when all is taken.
func TestAPublisherThatWaitsForAllThereIsComes(t *testing.T) {
	w := plain(t)
	w.m.bound = 4
	w.put(make([]int, 4))
	one := w.with(4)
	if !w.m.WantsRoom(4) || w.m.Asks.Room {
		t.Fatal("it does not wait")
	}
	var d Delivery
	for d.N < 4 {
		w.m.Take(&one.Consumer, &d, true, false)
	}
	if !w.m.Asks.Room {
		t.Error("there is room, and it is not told")
	}
}

// TestALargeMessageOfAnEphemeralChannelStays: it has no other place.
func TestALargeMessageOfAnEphemeralChannelStays(t *testing.T) {
	w := plain(t)
	w.m.ephemeral = true
	w.put([]int{largeBody})
	one := w.with(1)
	w.take(one)
	w.says(one, Requeue, 1, 0)
	if !w.m.deliverable() {
		t.Error("what comes back must be read from elsewhere")
	}
	if n := len(w.m.retries.At(0).Frame); n != protocol.MessageOverhead+largeBody {
		t.Errorf("%d bytes of it are left", n)
	}
}

// TestWhoHasReadInVainIsWoken for what came while he read.
func TestWhoHasReadInVainIsWoken(t *testing.T) {
	w := plain(t)
	one := w.with(1)
	w.m.coldRetries.Push(inflight.Place{Pos: 1, Off: inflight.NoOffset, Attempts: 1})
	w.states[1], w.next = out, 2
	w.m.n.Accepted++
	var d Delivery
	if n, fill := w.m.Take(&one.Consumer, &d, true, false); n != 0 || !fill {
		t.Fatalf("%d, to be read %v", n, fill)
	}
	f := w.m.BeginFill()
	f.Lost = f.Retries
	if w.m.EndFill(&f) {
		t.Fatal("something was read")
	}
	w.kept()
	w.put([]int{4})
	one.on = false
	if w.m.Rest(&one.Consumer); !one.on {
		t.Error("there is a message, and who has credit is not woken")
	}
	w.kept()
}

// TestNearerConsumersThatDoNotCome are waited for, but not for long: a message that is theirs goes to a farther one, who is looked for soon. Who comes, or was
// woken just now, is not passed over.
func TestNearerConsumersThatDoNotCome(t *testing.T) {
	for _, woken := range []bool{false, true} {
		w := plain(t)
		w.m.rules.TopologyAware = true
		near := w.with(1)
		w.m.At.Now += int64(time.Hour)
		for id := protocol.MessageID(1); id < 3 && !woken; id++ { // it has come for the second without being woken, and sends it, or tries to
			w.m.At.Now += int64(time.Hour)
			w.put([]int{4})
			w.m.Take(&near.Consumer, &Delivery{}, true, false)
			w.says(near, Finish, id, 0)
		}
		far := w.with(1)
		far.Locality = Elsewhere
		w.put([]int{4})
		var d Delivery
		w.m.At.Now += int64(stalledAfter)
		w.recheck = false
		if n, _ := w.m.Take(&far.Consumer, &d, true, false); n != 0 || !w.m.Asks.Recheck {
			t.Errorf("woken %v: the farther one gets %d, and is looked for %v", woken, n, w.m.Asks.Recheck)
		}
		w.m.At.Now++
		w.m.Sweep(1000)
		if n, _ := w.m.Take(&far.Consumer, &d, true, false); n != 1 {
			t.Errorf("woken %v: then the farther one gets %d", woken, n)
		}
	}
}

// TestDeadLettersThatComeBack: a limit is put in force, and lifted before they have moved. What was deferred is so again, until the same time, and who waits is
// woken for the others. On a topic of dead letters none is touched.
func TestDeadLettersThatComeBack(t *testing.T) {
	limit := &policy.Policy{MaxAttempts: 2, DeadLetter: "letters"}
	for _, size := range []int{4, largeBody} {
		for _, delay := range []time.Duration{0, time.Hour} {
			w := plain(t)
			w.put([]int{size})
			one := w.with(1)
			for n := range 3 {
				w.take(one)
				w.says(one, Requeue, 1, time.Duration(n/2)*delay)
			}
			w.rest()
			if delay == 0 { // it has been taken once more
				w.m.SetReady(&one.Consumer, 0)
				w.says(one, Requeue, 1, 0)
			}
			w.m.At.Final = true
			w.m.SetPolicy(limit, nil, false, false)
			w.m.EnforcePolicy()
			if s := w.m.Stats(); s.Buried != 0 {
				t.Errorf("%d bytes: %d dead letters of a topic of such", size, s.Buried)
			}
			w.m.At.Final = false
			w.m.EnforcePolicy()
			if s := w.m.Stats(); s.Buried != 1 || w.m.Held() != 1 {
				t.Errorf("%d bytes, %v: %+v", size, delay, s)
			}
			w.kept()
			w.m.SetReady(&one.Consumer, 1)
			w.rest()
			w.m.SetPolicy(nil, nil, false, false)
			w.kept()
			one.on = false
			w.m.EnforcePolicy()
			told := w.m.Asks.Deadline
			w.kept()
			switch s := w.m.Stats(); {
			case delay == 0 && (s.Deferred != 0 || !one.on):
				t.Errorf("%d bytes: %d deferred, woken %v", size, s.Deferred, one.on)
			case delay > 0 && (s.Deferred != 1 || w.due() != delay || !told):
				t.Errorf("%d bytes: %d deferred, due in %v, told %v", size, s.Deferred, w.due(), told)
			}
		}
	}
}

// TestHowDeadLettersMove: as many at once as there is room for; whoever waits to know what became of them is told; those that are refused, or too large, are tried
// again later and not before, these no sooner than the others; and an emptied channel has none of them.
func TestHowDeadLettersMove(t *testing.T) {
	w := plain(t)
	w.m.SetPolicy(&policy.Policy{MaxAttempts: 1, DeadLetter: "letters"}, nil, false, false)
	w.put(make([]int, 9))
	one := w.with(9)
	w.take(one)
	for id := range protocol.MessageID(9) {
		w.says(one, Requeue, id+1, 0)
	}
	begin := func(want int) *Burial {
		t.Helper()
		w.m.StartBurial(func() bool { return true })
		b := w.m.BeginBurial(nil)
		if n := 0; b != nil && len(b.List) != want || b == nil && want != n {
			t.Fatalf("%v are moved, want %d", b, want)
		}
		return b
	}
	for _, room := range []int{1, 2} { // of 9, and then of fewer
		b := begin(map[int]int{1: 9, 2: 1}[room])
		b.Narrow(&Sorted{On: b.List})
		b.Write()
		leaving := w.m.Leaving()
		b.End(ErrFewer, room)
		select {
		case <-leaving:
		default:
			t.Error("whoever waits to know what became of them is not told")
		}
		w.kept()
	}
	b := begin(2)
	b.Narrow(&Sorted{On: b.List})
	b.Write()
	b.End(errRefused, 0)
	w.kept()
	if begin(0); w.due() != buryAgain || !w.m.Asks.Deadline {
		t.Errorf("refused: again in %v, told %v", w.due(), w.m.Asks.Deadline)
	}
	w.m.At.Now += int64(buryAgain)
	b = begin(9)
	if _, large := b.Narrow(&Sorted{Large: b.List}); !large {
		t.Error("all are too large, and it is not told")
	}
	b.End(ErrNothing, 0)
	w.kept()
	if b = begin(0); w.due() != buryAgain || w.m.Stats().Buried != 9 {
		t.Errorf("too large: again in %v, %d of them", w.due(), w.m.Stats().Buried)
	}
	w.m.At.Now += int64(buryAgain)
	if b = begin(9); b != nil {
		b.Narrow(&Sorted{Large: b.List})
		b.End(ErrNothing, 0)
	}
	w.m.Clear(journal.Emptied)
	for pos := range w.states {
		w.states[pos] = gone
	}
	w.kept()
	if n := w.m.Held(); n != 0 {
		t.Errorf("emptied: %d are left", n)
	}
}
