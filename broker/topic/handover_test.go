package topic

import (
	"bytes"
	"cmp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// inheritLog is a log that does something when a topic's own backlog is about to move to its channels, or with another change.
type inheritLog struct {
	*keptLog
	on   journal.Op // empty: OpInherit
	then func()
}

func (l *inheritLog) Append(kind journal.Kind, head, body []byte) journal.Offset {
	at := l.keptLog.Append(kind, head, body)
	if then := l.then; then != nil && kind == journal.KindChange && strings.Contains(string(head), `"`+string(cmp.Or(l.on, journal.OpInherit))+`"`) {
		l.then = nil
		then()
	}
	return at
}

// TestCheckpointWhileABacklogMoves: a checkpoint that was begun before a topic's own backlog moves to the first channel looks at the channels while it
// does. After a crash the channel has all of it, once; and so it has when the checkpoint looks at the topic once that is over.
func TestCheckpointWhileABacklogMoves(t *testing.T) {
	for name, look := range map[string]func(s *topicSnapshot, l *inheritLog, move func()){
		"while": func(s *topicSnapshot, l *inheritLog, move func()) {
			*s = s.topic.snapshot()
			l.then = s.lookAtChannels
			move()
		},
		"between": func(s *topicSnapshot, _ *inheritLog, move func()) {
			*s = s.topic.snapshot()
			move()
			s.lookAtChannels()
		},
		"behind": func(s *topicSnapshot, _ *inheritLog, move func()) {
			move()
			*s = s.topic.snapshot()
			s.lookAtChannels()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, files := &inheritLog{keptLog: &keptLog{}}, vfs.NewMem()
				cfg := config()
				cfg.Journal, cfg.Segments, cfg.Level = l, keptSegments{files}, func(string) Level { return Disk }
				r := start(t, cfg)
				topic := mustTopic(t, r, "t")
				publish(t, topic, 3)
				var later Batch
				later.Add([]byte("later"))
				if err := topic.PublishDeferred(&later, time.Minute); err != nil {
					t.Fatal(err)
				}
				from := l.End()
				s := topicSnapshot{topic: topic}
				look(&s, l, func() { mustChannel(t, topic, "c") })
				again := reborn(t, cfg, &s, l, from)
				c := again.Lookup("t").LookupChannel("c")
				if got := c.Stats(); got.Depth != 3 || got.Deferred != 1 || !got.Balanced {
					t.Errorf("the channel has %d messages that wait and %d that are deferred, of 3 and 1", got.Depth, got.Deferred)
				}
				if got := again.Lookup("t").Own().Stats(); got.Held != 0 || !got.Balanced {
					t.Errorf("the topic itself has %d messages", got.Held)
				}
			})
		})
	}
}

// TestWhatATopicDiscardsItselfIsCounted: over the move of its backlog to channels, and over a restart.
func TestWhatATopicDiscardsItselfIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &keptLog{}
		topic := mustTopic(t, durableRegistry(t, l), "t")
		if err := topic.SetOptions(raw(t, `{"ttl":"10s"}`)); err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 3)
		time.Sleep(11 * time.Second)
		publish(t, topic, 2)
		mustChannel(t, topic, "c")
		for _, of := range []*Topic{topic, recovered(t, &keptLog{records: l.records[:l.len():l.len()]}).Lookup("t")} {
			s := of.Stats()
			if n := s.Counts.Discarded[journal.Expired]; n != 3 || s.Depth != 0 || s.Channels[0].Held != 2 {
				t.Errorf("%d messages have expired in the topic itself, of 3; %d are there, the channel has %d of 2", n, s.Depth, s.Channels[0].Held)
			}
		}
	})
}

// TestCompactionWhileABacklogMoves: what is needed of a topic's nodes is asked for while its own backlog moves to the first channel: all of it is.
func TestCompactionWhileABacklogMoves(t *testing.T) {
	l := &inheritLog{keptLog: &keptLog{}}
	cfg := config()
	cfg.Journal, cfg.Segments, cfg.Level = l, keptSegments{vfs.NewMem()}, func(string) Level { return Disk }
	topic := mustTopic(t, start(t, cfg), "t")
	publish(t, topic, 5)
	needed := make(chan int)
	l.then = func() {
		asked := make(chan struct{})
		go func() {
			close(asked)
			needed <- lengths(topic.neededIn(topic.d.table.each()))
		}()
		<-asked
		for range 1000 { // it may find the backlog on its way, or wait
			runtime.Gosched()
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { mustChannel(t, topic, "c") })
	if n := <-needed; n != 5 {
		t.Errorf("%d messages are needed, of 5", n)
	}
}

// TestCheckpointOfDeferredDeadLetters: what is deferred, and waits for a dead letter topic that is full, is deferred after a start from a checkpoint.
func TestCheckpointOfDeferredDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, files := &inheritLog{keptLog: &keptLog{}}, vfs.NewMem()
		cfg := config()
		cfg.Journal, cfg.Segments, cfg.Level = l, keptSegments{files}, func(string) Level { return Disk }
		r := start(t, cfg)
		topic, dead := mustTopic(t, r, "t"), mustTopic(t, r, "t.c.dlq")
		if err := dead.SetOptions(raw(t, `{"max_depth":1}`)); err != nil {
			t.Fatal(err)
		}
		publish(t, dead, 1)
		c := mustChannel(t, topic, "c")
		setOptions(t, c, `{"max_depth":1,"overflow":"dead-letter"}`)
		var b Batch
		for range 3 {
			b.Add([]byte("later"))
		}
		if err := topic.PublishDeferred(&b, time.Minute); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := c.Stats().Buried; n != 2 {
			t.Fatalf("%d messages wait for the dead letter topic, of 2", n)
		}
		from := l.End()
		s := topic.snapshot()
		s.lookAtChannels()
		again := reborn(t, cfg, &s, l, from).Lookup("t").LookupChannel("c")
		setOptions(t, again, `{"max_depth":9}`)
		synctest.Wait()
		// The dead letter topic is not in the checkpoint of this one: until the options changed some may have gone there, as nothing bounds it now.
		got := again.Stats()
		if dead := int(got.Counts.Discarded[journal.DeadLettered]); got.Depth != 0 || got.Deferred+dead != 3 || !got.Balanced {
			t.Errorf("%d messages wait, %d are deferred and %d dead letters, of 0 and together 3", got.Depth, got.Deferred, dead)
		}
	})
}

// reborn is a registry of what a checkpoint of one topic has, and the log from a place on.
func reborn(t *testing.T, cfg Config, s *topicSnapshot, l *inheritLog, from journal.Offset) *Registry {
	t.Helper()
	v := recoveryOf(t, s, l, from)
	cfg.Journal = &keptLog{records: l.records[:l.len():l.len()]}
	again := start(t, cfg)
	if err := again.Recover(v); err != nil {
		t.Fatal(err)
	}
	return again
}

// recoveryOf returns what a start reads of a checkpoint with a topic as it was, and the records of a log from a place on.
func recoveryOf(t *testing.T, s *topicSnapshot, l *inheritLog, from journal.Offset) *Recovery {
	t.Helper()
	var b bytes.Buffer
	w := journal.NewWriter(&b)
	r := s.topic.registry
	w.Head(r.lastID.Load()+1, from, r.stamp())
	if err := s.write(w); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	state, err := journal.ReadCheckpoint(&b, int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	v := NewRecovery(state)
	for i, rec := range l.records {
		if at := (journal.Offset{Offset: int64(i)}); !at.Before(from) {
			if err := v.Apply(at, rec.kind, rec.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	return v
}

// TestToolsSeeWhatWaitsForAFullDeadLetterTopic: who reads a stopped node out gets what is more than a channel may hold, too: once it is started that goes to its
// dead letter topic.
func TestToolsSeeWhatWaitsForAFullDeadLetterTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, files := &inheritLog{keptLog: &keptLog{}}, vfs.NewMem()
		cfg := config()
		cfg.Journal, cfg.Segments, cfg.Level = l, keptSegments{files}, func(string) Level { return Disk }
		r := start(t, cfg)
		topic, dead := mustTopic(t, r, "t"), mustTopic(t, r, "t.c.dlq")
		if err := dead.SetOptions(raw(t, `{"max_depth":1}`)); err != nil {
			t.Fatal(err)
		}
		publish(t, dead, 1)
		setOptions(t, mustChannel(t, topic, "c"), `{"max_depth":2,"overflow":"dead-letter"}`)
		publish(t, topic, 5)
		synctest.Wait()
		from := l.End()
		s := topic.snapshot()
		s.lookAtChannels()
		v := recoveryOf(t, &s, l, from)
		cfg.Journal = &keptLog{}
		stopped := NewRegistry(cfg)
		if err := stopped.Recover(v); err != nil {
			t.Fatal(err)
		}
		again := stopped.Lookup("t")
		h, err := again.Inspect(v)
		if err != nil {
			t.Fatal(err)
		}
		there := 0
		for _, c := range h.Channels {
			there += c.Waiting + c.Out + c.Deferred
		}
		got := map[string]int{}
		lost, err := again.Unload(func(_ string, m protocol.MessageFrame, _ uint16) error {
			got[string(m.Body())]++
			return nil
		})
		if err != nil || lost != 0 || len(got) != 5 || there != 5 {
			t.Errorf("%d are said to be there, and %v were read out, %d lost, of 5: %v", there, got, lost, err)
		}
	})
}

// TestABacklogIsLetGoOfUnderItsLock: statistics are read between the moment in which a topic with ephemeral channels only has let go of its backlog and the
// record of that. Nothing but the lock of the counters orders the two, as the reader is told nothing, so that the race detector sees when it is not taken.
func TestABacklogIsLetGoOfUnderItsLock(t *testing.T) {
	l := &inheritLog{keptLog: &keptLog{}, on: journal.OpEmpty}
	cfg := config()
	cfg.Journal, cfg.Segments, cfg.Level = l, keptSegments{vfs.NewMem()}, func(string) Level { return Disk }
	topic := mustTopic(t, start(t, cfg), "t")
	publish(t, topic, 3)
	var reads atomic.Int64
	var over atomic.Bool
	var reader sync.WaitGroup
	reader.Go(func() {
		for !over.Load() {
			topic.Stats()
			reads.Add(1)
		}
	})
	was := int64(-1)
	l.then = func() {
		for was = reads.Load(); reads.Load() < was+2; { // one that began behind it
			runtime.Gosched()
		}
	}
	mustChannel(t, topic, "c#ephemeral")
	over.Store(true)
	reader.Wait()
	if was < 0 {
		t.Error("nothing was read meanwhile")
	}
	if s := topic.Stats(); s.Counts.Discarded[journal.Emptied] != 3 || s.Channels[0].Depth != 3 {
		t.Errorf("the topic counts %+v, the channel has %d", s.Counts, s.Channels[0].Depth)
	}
}
