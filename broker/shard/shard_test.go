package shard

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/replica"
	"brokerd/broker/topic"
	"brokerd/cmd/leaktest"
	"brokerd/diskqueue/journal"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// noLog is a node's log that nothing stands in.
type noLog struct{}

func (noLog) Append(journal.Kind, []byte, []byte) journal.Offset { return journal.Offset{} }
func (noLog) Commit(journal.Offset, bool) error                  { return nil }
func (noLog) End() journal.Offset                                { return journal.Offset{} }
func (noLog) Err() error                                         { return nil }
func (noLog) Gap() error                                         { return nil }

// alone is a group of one replica that commits what is appended, and tells the shard, unless it is busy or holds.
type alone struct {
	s *Shard

	mu        sync.Mutex
	term      uint64
	index     uint64
	record    uint64
	committed uint64
	busy      bool // Append fails
	unleased  atomic.Bool
	yielded   atomic.Int64
	moved     chan struct{}
}

func (a *alone) Append(term uint64, kind journal.Kind, payload ...[]byte) (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if term != a.term || a.busy {
		return 0, replica.ErrBusy
	}
	a.record++
	data := journal.AppendRecord(journal.AppendFirst(nil, a.record), kind, payload...)
	number := a.record
	a.index++
	c := &replica.Committed{Index: a.index, Term: term, First: number, Count: 1, Data: data, Own: true}
	c.At = replica.Point{Index: a.index, Term: term, Record: number}
	a.s.Committed(c)
	a.committed = number
	close(a.moved)
	a.moved = make(chan struct{})
	return number, nil
}

func (a *alone) Await(_ context.Context, term, number uint64) error {
	for {
		a.mu.Lock()
		done, lost, moved := a.committed >= number, a.term != term, a.moved
		a.mu.Unlock()
		switch {
		case done:
			return nil
		case lost:
			return replica.ErrNotLeader
		}
		<-moved
	}
}

func (a *alone) AwaitOwn(ctx context.Context, term, number uint64) error {
	return a.Await(ctx, term, number)
}

func (a *alone) Confirm(_ context.Context, term uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.term != term {
		return replica.ErrNotLeader
	}
	return nil
}

func (a *alone) Room(context.Context) error { return nil }

func (a *alone) Leader() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.term
}

func (a *alone) Yield(context.Context) error {
	a.yielded.Add(1)
	return nil
}

func (a *alone) Leased() bool {
	return !a.unleased.Load()
}

func (a *alone) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.moved)
	a.moved = make(chan struct{})
}

// lead has it lead in a term.
func (a *alone) lead(term uint64) {
	a.set(func() {
		a.term = term
		a.index++
		a.s.Committed(&replica.Committed{Index: a.index, Term: term, At: replica.Point{Index: a.index, Term: term, Record: a.record}})
	})
	a.s.Lead(term, a.record+1)
	synctest.Wait()
}

// fixture is a shard with a registry, and the map's leader.
type fixture struct {
	t       *testing.T
	r       *topic.Registry
	s       *Shard
	a       *alone
	state   *cluster.State
	mu      sync.Mutex // held while the map is told
	forgot  []string
	stopped error
	o       Options // what is not as usual
	changes atomic.Int64
	leading atomic.Int64
}

func run(t *testing.T, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t, r: topic.NewRegistry(topic.Config{MemQueueSize: 100, MaxMsgTimeout: time.Hour, MaxReqTimeout: time.Hour, Journal: noLog{}})}
		f.r.Start()
		f.open(nil, replica.Point{Index: 1, Term: 1})
		test(f)
		f.s.Close()
		if err := f.r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// open makes the shard of what a checkpoint holds.
func (f *fixture) open(content []byte, at replica.Point) {
	f.t.Helper()
	var err error
	f.s, err = New(Options{Number: 1, Registry: f.r, Segments: f.o.Segments, Room: f.o.Room, Limit: f.o.Limit, Short: f.o.Short, Stop: func(err error) { f.stopped = err },
		Changed: func() { f.changes.Add(1) },
		Leading: func(_ uint32, led *topic.Led) {
			if led != nil {
				f.leading.Add(1)
			} else {
				f.leading.Add(-1)
			}
		}, Do: func(_ context.Context, c cluster.Command) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.forgot = append(f.forgot, c.Topic)
			f.put(func(topics map[string]cluster.Topic) { delete(topics, c.Topic) })
			return nil
		}}, content, at)
	if err != nil {
		f.t.Fatal(err)
	}
	f.a = &alone{s: f.s, index: at.Index, record: at.Record, committed: at.Record, moved: make(chan struct{})}
	f.s.start(f.a)
}

// put changes the map's topics.
func (f *fixture) put(change func(map[string]cluster.Topic)) {
	topics := map[string]cluster.Topic{}
	if f.state != nil {
		for name, t := range f.state.Topics {
			topics[name] = t
		}
	}
	change(topics)
	f.state = &cluster.State{Topics: topics}
	f.s.Tend(f.state)
}

func (f *fixture) create(name string, number uint32) {
	f.put(func(topics map[string]cluster.Topic) { topics[name] = cluster.Topic{Group: 1, Number: number} })
	synctest.Wait()
}

func (f *fixture) publish(name string) error {
	t := f.r.Lookup(name)
	if t == nil {
		return topic.ErrTopicNotFound
	}
	var b topic.Batch
	b.Add([]byte("m"))
	return t.Publish(&b)
}

// TestTopicsOfAReign: a leader makes the topics of the map, serves them, and drops them with the lead; the next reign has what was committed.
// One that is to be deleted is, and the map is told.
func TestTopicsOfAReign(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		if f.r.Lookup("orders") != nil {
			t.Error("a topic is served by who does not lead")
		}
		f.a.lead(2)
		if err := f.publish("orders"); err != nil {
			t.Fatalf("the leader: %v", err)
		}
		f.a.set(func() { f.a.term = 0 })
		f.s.Lost(2)
		synctest.Wait()
		if err := f.publish("orders"); !errors.Is(err, topic.ErrTopicNotFound) {
			t.Errorf("after the lead was lost: %v", err)
		}
		f.a.lead(3)
		if got := f.r.Lookup("orders"); got == nil || got.Stats().Depth != 1 {
			t.Fatal("the next leader has not what was committed")
		}
		f.create("bills", 2)
		if err := f.publish("bills"); err != nil {
			t.Errorf("a topic that is made during a reign: %v", err)
		}
		f.put(func(topics map[string]cluster.Topic) {
			topics["orders"] = cluster.Topic{Group: 1, Number: 1, Deleting: true}
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if f.r.Lookup("orders") != nil || !slices.Equal(f.forgot, []string{"orders"}) {
			t.Errorf("deleted: the map was told of %q", f.forgot)
		}
		if f.stopped != nil {
			t.Error(f.stopped)
		}
	})
}

// TestARecordThatCannotBeAppendedEndsTheReign: the topics have run ahead of the log. They are dropped, though the lead is not lost, and are there
// again, as they were committed, once all that was appended is.
func TestARecordThatCannotBeAppendedEndsTheReign(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		before := f.r.Lookup("orders")
		f.a.set(func() { f.a.busy = true })
		if err := f.publish("orders"); !errors.Is(err, topic.ErrNotLeader) {
			t.Errorf("published while the lead is handed over: %v", err)
		}
		f.a.set(func() { f.a.busy = false })
		time.Sleep(time.Second)
		synctest.Wait()
		if now := f.r.Lookup("orders"); now == nil || now == before || now.Stats().Depth != 0 {
			t.Error("the topic is not as it was committed")
		}
		if err := f.publish("orders"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestACheckpointOfAShard: a shard that is read again is what it was; bytes that are none are refused, and one that does not fit its point.
func TestACheckpointOfAShard(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		for range 3 {
			if err := f.publish("orders"); err != nil {
				t.Fatal(err)
			}
		}
		content, at, _, err := f.s.Content()
		if err != nil || at.Record != f.s.Point().Record {
			t.Fatal(err)
		}
		f.s.Close()
		if _, err := New(f.s.o, content[:len(content)-1], at); err == nil {
			t.Error("a checkpoint that was cut was read")
		}
		wrong := at
		wrong.Record++
		if _, err := New(f.s.o, content, wrong); !errors.Is(err, topic.ErrDrift) {
			t.Errorf("a checkpoint that does not fit its point: %v", err)
		}
		f.open(content, at)
		f.s.Tend(f.state)
		f.a.lead(3)
		if got := f.r.Lookup("orders"); got == nil || got.Stats().Depth != 3 {
			t.Error("it is not what it was")
		}
	})
}

// A replica whose state is not what was committed says so, and applies nothing more: it is not served, and not written down.
func TestDriftEndsAShard(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		data := journal.AppendRecord(journal.AppendFirst(nil, f.a.record+1), journal.KindPublish, []byte("not a publish"))
		f.s.Committed(&replica.Committed{Index: f.a.index + 1, Term: 2, Data: data, Count: 1})
		synctest.Wait()
		if !errors.Is(f.stopped, replica.ErrDrift) {
			t.Errorf("stopped: %v", f.stopped)
		}
		if _, _, _, err := f.s.Content(); err == nil {
			t.Error("it can be written down")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if f.r.Lookup("orders") != nil {
			t.Error("it is still served")
		}
	})
}

// TestAFullGroupRefuses: what topics hold is in memory, so that it has a bound; finished messages make room.
func TestAFullGroupRefuses(t *testing.T) {
	run(t, func(f *fixture) {
		f.s.o.Limit = 1000
		f.s.standby.Keep(f.s.o.Limit, func() { nudge(f.s.much) }, nil)
		f.create("orders", 1)
		f.a.lead(2)
		c, err := f.r.Lookup("orders").Channel("c")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; n < 1000; n++ {
			if err = f.publish("orders"); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrFull) || n == 0 {
			t.Fatalf("%d were taken, then: %v", n, err)
		}
		if err := c.Empty(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := f.publish("orders"); err != nil {
			t.Errorf("once there is room: %v", err)
		}
	})
}

// TestAShardTellsWhatItFollows: the topics and channels of the group, which lookups are told of by each of its nodes, when they come and go, and whether
// a leader was known in the last 10 s.
func TestAShardTellsWhatItFollows(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		if f.s.Reaches() || len(f.s.List()) > 0 {
			t.Error("nobody has led yet")
		}
		f.a.lead(2)
		if _, err := f.r.Lookup("orders").Channel("c"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		list := f.s.List()
		if !f.s.Reaches() || len(list) != 1 || list[0].Name != "orders" || len(list[0].Channels) != 1 || list[0].Channels[0].Name != "c" || f.leading.Load() != 1 {
			t.Errorf("reached: %v, %+v, leading: %d", f.s.Reaches(), list, f.leading.Load())
		}
		if n := f.changes.Load(); n < 3 { // the topic, the channel, and that a leader is known
			t.Errorf("%d changes were told", n)
		}
		f.a.set(func() { f.a.term = 0 })
		f.s.Lost(2)
		time.Sleep(9 * time.Second)
		if !f.s.Reaches() || f.leading.Load() != 0 {
			t.Errorf("after 9 s: %v, leading: %d", f.s.Reaches(), f.leading.Load())
		}
		before := f.changes.Load()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := f.changes.Load() - before; f.s.Reaches() || n != 1 {
			t.Errorf("after 12 s without a leader: %v, and %d changes were told", f.s.Reaches(), n)
		}
	})
}

// TestAShardForgetsWhoIsGone: of a node that was not heard of for 10 minutes the group does not remember which publishes were taken; of one that was, it does.
func TestAShardForgetsWhoIsGone(t *testing.T) {
	run(t, func(f *fixture) {
		f.create("orders", 1)
		f.a.lead(2)
		send := func(id, number uint64) int64 {
			t.Helper()
			var b topic.Batch
			b.Add([]byte("m"))
			b.From = journal.Origin{ID: id, Number: number, Low: 1}
			if err := f.r.Lookup("orders").Publish(&b); err != nil {
				t.Fatal(err)
			}
			return f.r.Lookup("orders").Stats().Depth
		}
		if n := send(1, 1) + send(2, 1); n != 3 {
			t.Fatalf("%d", n)
		}
		for range 20 {
			time.Sleep(time.Minute)
			send(2, 2)
		}
		if n := send(2, 1); n != 3 {
			t.Errorf("what a node that was heard of sends again was taken: %d", n)
		}
		if n := send(1, 1); n != 4 {
			t.Errorf("what a node that is gone has sent is remembered: %d", n)
		}
	})
}
