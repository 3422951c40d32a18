package shard

import (
	"context"
	"errors"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/replica"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// slow is a group that looks while it appends whether the reign is over.
type slow struct {
	*alone
	r   *reign
	saw bool
}

func (s *slow) Append(term uint64, kind journal.Kind, payload ...[]byte) (uint64, error) {
	for range 1000 {
		runtime.Gosched()
	}
	s.saw = s.saw || s.r.over.Load()
	return s.alone.Append(term, kind, payload...)
}

// TestNothingIsAppendedOnceAReignIsOver: the next reign begins when all is applied that the last one has appended, and a record that came behind that
// would be one that does not follow from what is committed. Also one that is on its way into the log when the reign ends is counted.
func TestNothingIsAppendedOnceAReignIsOver(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		for range 20 {
			late := &slow{alone: f.a}
			r := &reign{term: 2, group: late, standby: f.s.standby, ended: make(chan struct{})}
			late.r = r
			at := make(chan journal.Offset, 1)
			go func() { at <- r.Append(journal.KindTime, journal.AppendTime(nil, 1), nil) }()
			runtime.Gosched()
			r.end()
			if got := <-at; got != topic.Nowhere && uint64(got.Offset) != r.last.Load() || late.saw {
				t.Errorf("a record is appended at %v once the reign was over, the last being number %d", got, r.last.Load())
			}
			if got := r.Append(journal.KindTime, journal.AppendTime(nil, 1), nil); got != topic.Nowhere || !errors.Is(r.Commit(got, true), topic.ErrNotLeader) {
				t.Errorf("a record is appended at %v after the end", got)
			}
		}
	})
}

// TestAChangeOfMembersEndsNoReign: what belongs together stays so on both sides of it.
func TestAChangeOfMembersEndsNoReign(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		if _, err := f.r.Lookup("orders").Channel("c"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := f.publish("orders"); err != nil {
				t.Fatal(err)
			}
		}
		var runs journal.Runs
		runs.BeginDelivered(1, 2, 2) // says that two have left before, by records that are about to come
		runs.AddRange(journal.Range{First: 3, Last: 3})
		f.a.index++
		f.a.record++
		f.s.Committed(&replica.Committed{Index: f.a.index, Term: 2, Count: 1, At: replica.Point{Index: f.a.index, Term: 2, Record: f.a.record},
			Data: journal.AppendRecord(journal.AppendFirst(nil, f.a.record), journal.KindDelivered, runs.Record())})
		for i, midway := range []bool{true, false} {
			f.a.index++
			term := uint64(2 + i) // of a change of members; of the next leader's first entry
			f.s.Committed(&replica.Committed{Index: f.a.index, Term: term, At: replica.Point{Index: f.a.index, Term: term, Record: f.a.record}})
			if _, _, _, err := f.s.Content(); errors.Is(err, topic.ErrMidway) != midway {
				t.Errorf("behind an entry of term %d: %v", term, err)
			}
		}
	})
}

// TestNoReignBeginsWhileTheLeadIsHandedOver: it would end with its first record, and its topics would be made again and again.
func TestNoReignBeginsWhileTheLeadIsHandedOver(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		f.a.set(func() { f.a.busy = true })
		f.a.unleased.Store(true)
		if err := f.publish("orders"); !errors.Is(err, topic.ErrNotLeader) {
			t.Errorf("published while the lead is handed over: %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if f.r.Lookup("orders") != nil {
			t.Error("the topic is there")
		}
		f.a.set(func() { f.a.busy = false })
		f.a.unleased.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if err := f.publish("orders"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestADeletedTopicIsNotMadeAgainByAMapThatIsBehind: its number says that it was there. That the map does not answer keeps nothing else up.
func TestADeletedTopicIsNotMadeAgainByAMapThatIsBehind(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.create("bills", 2)
		f.a.lead(2)
		behind := f.state
		f.put(func(topics map[string]cluster.Topic) {
			topics["orders"] = cluster.Topic{Group: 1, Number: 1, Deleting: true}
			topics["bills"] = cluster.Topic{Group: 1, Number: 2, Deleting: true}
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if len(f.forgot) != 2 {
			t.Fatalf("the map was told of %q", f.forgot)
		}
		content, at, _, err := f.s.Content() // also by one that was read again
		if err != nil {
			t.Fatal(err)
		}
		f.s.Close()
		f.open(content, at)
		f.s.Tend(behind)
		f.a.lead(3)
		time.Sleep(time.Second)
		synctest.Wait()
		if names := f.r.LedNames(); len(names) > 0 {
			t.Errorf("there are %q", names)
		}
		f.create("bills", 3)
		if err := f.publish("bills"); err != nil {
			t.Errorf("one of the same name that is new: %v", err)
		}
	})
}

// TestAMapThatDoesNotAnswerKeepsNothingUp: a reign ends, and its consumers are let go, while the map is asked to forget a topic.
func TestAMapThatDoesNotAnswerKeepsNothingUp(t *testing.T) {
	run(t, func(f *fixture) {
		f.s.o.Do = func(ctx context.Context, _ cluster.Command) error {
			<-ctx.Done()
			return ctx.Err()
		}
		f.create("orders", 1)
		f.create("bills", 2)
		f.a.lead(2)
		f.put(func(topics map[string]cluster.Topic) {
			topics["orders"] = cluster.Topic{Group: 1, Number: 1, Deleting: true}
		})
		synctest.Wait()
		f.a.set(func() { f.a.term = 0 })
		f.s.Lost(2)
		synctest.Wait()
		if f.r.Lookup("bills") != nil {
			t.Error("a topic is served although the lead was lost")
		}
	})
}

// quiet is a consumer that is told nothing.
type quiet struct{}

func (quiet) Wake()  {}
func (quiet) Close() {}

// Consumers that come and go, and give credit, leave nothing in the group's log, also beside a message that nobody has finished.
func TestConsumersThatComeAndGoLeaveNothingInTheLog(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		orders := f.r.Lookup("orders")
		held, err := orders.Subscribe("c", topic.SubscribeOptions{Owner: quiet{}, MsgTimeout: time.Hour})
		if err == nil {
			held.SetReady(1)
			err = f.publish("orders")
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := held.Take(new(topic.Delivery)); n != 1 {
			t.Fatalf("%d messages", n)
		}
		before := f.a.record
		for range 10_000 {
			s, err := orders.Subscribe("c", topic.SubscribeOptions{Owner: quiet{}, MsgTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			s.SetReady(10)
			if s.Take(new(topic.Delivery)) > 0 {
				t.Fatal("it has got the message that another one has")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if f.a.record != before {
			t.Errorf("%d records", f.a.record-before)
		}
	})
}

// TestAShardThatLacksMessagesEnds: topics cannot be made of it, now or later, and another replica has what it lacks.
func TestAShardThatLacksMessagesEnds(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		_, err := f.r.Lookup("orders").Channel("c")
		for range 2 {
			if err == nil {
				err = f.publish("orders")
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		content, at, _, err := f.s.Content()
		if err != nil {
			t.Fatal(err)
		}
		f.a.set(func() { f.a.term = 0 })
		f.s.Close()
		last := 4 + len(journal.AppendPublish(nil, journal.Publish{Topic: 1, First: 2, Count: 1})) + messageFrame + 1 // the second publish
		f.open(content[:len(content)-last], at)
		f.a.lead(3)
		time.Sleep(time.Second)
		synctest.Wait()
		if !errors.Is(f.stopped, replica.ErrDrift) {
			t.Errorf("stopped: %v", f.stopped)
		}
	})
}

// TestWhoCannotReadGivesTheLeadAway: the disk of who leads does not give messages back, and the others' do.
func TestWhoCannotReadGivesTheLeadAway(t *testing.T) {
	run(t, func(f *fixture) {
		f.s.Close()
		fault := vfs.NewFaulty(vfs.NewMem())
		f.o = Options{Segments: disk{fault}, Room: 1 << 10, Limit: 32 << 10}
		f.open(nil, replica.Point{Index: 1, Term: 1})
		f.create("orders", 1)
		f.a.lead(2)
		orders := f.r.Lookup("orders")
		_, err := orders.Channel("c")
		for i := 0; i < 100 && err == nil; i++ {
			err = f.publish("orders")
		}
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // what there is no room for is on the disk
		content, at, _, err := f.s.Content()
		if err != nil {
			t.Fatal(err)
		}
		f.a.set(func() { f.a.term = 0 })
		f.s.Close()
		f.open(content, at)
		f.s.Tend(f.state)
		fault.SetRules(vfs.Rule{Ops: vfs.OpRead, Err: syscall.EIO})
		f.a.lead(3)
		sub, err := f.r.Lookup("orders").Subscribe("c", topic.SubscribeOptions{Owner: quiet{}, MsgTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		sub.SetReady(200)
		try := func(d time.Duration) {
			for began := time.Now(); time.Since(began) < d; time.Sleep(100 * time.Millisecond) {
				sub.Take(new(topic.Delivery))
				synctest.Wait()
			}
		}
		try(5 * time.Second)
		if n := f.a.yielded.Load(); n != 1 || f.stopped != nil {
			t.Errorf("the lead was given away %d times; stopped: %v", n, f.stopped)
		}
		try(giveAwayEvery)
		if n := f.a.yielded.Load(); n != 2 {
			t.Errorf("as nobody has taken it: %d times", n)
		}
	})
}
