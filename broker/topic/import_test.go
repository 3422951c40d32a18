package topic

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// foreign is a queue of another broker: message i was accepted at i and delivered i%4 times, in runs.
const foreignMessages = 40

func foreignAttempts(i int) uint16 { return uint16(i / 5 % 4) }

// importAll takes in the whole queue.
func importAll(t *testing.T, topic *Topic, channel string) {
	t.Helper()
	var c *Channel
	if channel != "" {
		c = topic.LookupChannel(channel)
	}
	m := topic.BeginImport("queue", "source", c)
	if !m.Done() {
		for i := range foreignMessages {
			if err := m.Add(int64(i), foreignAttempts(i), protocol.MessageID(i+1), fmt.Appendf(nil, "m%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Forget(); err != nil {
		t.Fatal(err)
	}
}

// recovered is a registry out of what a log has.
func recovered(t *testing.T, l *keptLog) *Registry {
	t.Helper()
	v := NewRecovery(journal.NewState())
	for i, r := range l.records {
		if err := v.Apply(journal.Offset{Offset: int64(i)}, r.kind, r.data); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config()
	cfg.Journal, cfg.Segments, cfg.Level = l, keptSegments{vfs.NewMem()}, func(string) Level { return Disk }
	r := start(t, cfg)
	if err := r.Recover(v); err != nil {
		t.Fatal(err)
	}
	return r
}

// expectForeign takes all of a channel and demands each message of the queue once, as the next attempt, what never was
// delivered in order.
func expectForeign(t *testing.T, topic *Topic, channel string) {
	t.Helper()
	s := mustSubscribe(t, topic, channel, 1000, SubscribeOptions{})
	seen, fresh := map[int]bool{}, -1
	var d Delivery
	for s.Take(&d) > 0 {
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := first(frames)
				frames = frames[len(f):]
				attempts := f.Attempts()
				if run.Attempts > 0 {
					attempts = run.Attempts
				}
				var i int
				if _, err := fmt.Sscanf(string(f.Body()), "m%d", &i); err != nil || seen[i] {
					t.Errorf("got %q again, or not what was there", f.Body())
				}
				seen[i] = true
				if attempts != foreignAttempts(i)+1 || f.Timestamp() != int64(i) || f.MustID() != protocol.MessageID(i+1) {
					t.Errorf("message %d came as attempt %d, of %d, with id %s", i, attempts, f.Timestamp(), f.MustID())
				}
				if attempts == 1 && i < fresh {
					t.Errorf("message %d came after %d", i, fresh)
				}
				if attempts == 1 {
					fresh = i
				}
			}
		}
		d.Clear()
	}
	if len(seen) != foreignMessages {
		t.Errorf("got %d messages of %d", len(seen), foreignMessages)
	}
}

// TestImportIsCutShort: wherever in the log an import ends, the next one makes it whole, without a message twice.
func TestImportIsCutShort(t *testing.T) {
	for _, into := range []string{"c", ""} {
		whole := &keptLog{}
		r := recovered(t, whole)
		topic := mustTopic(t, r, "t")
		mustChannel(t, topic, "c")
		mustChannel(t, topic, "other")
		began := whole.len()
		importAll(t, topic, into)
		records := whole.records[:whole.len():whole.len()]
		if len(records)-began < 7 {
			t.Fatalf("the import is only %d records", len(records)-began)
		}
		for cut := began; cut < len(records); cut++ {
			r := recovered(t, &keptLog{records: records[:cut:cut]})
			topic := r.Lookup("t")
			importAll(t, topic, into)
			expectForeign(t, topic, "c")
			others := int64(0)
			if into == "" {
				others = foreignMessages
			}
			if s := topic.LookupChannel("other").Stats(); s.Depth != others || s.MessageCount != 0 {
				t.Errorf("cut at %d: channel other has %+v", cut, s)
			}
		}
	}
}

// TestImportIntoAPausedTopic: the messages of a topic that no channel may get wait in it, with their attempts, until one may.
func TestImportIntoAPausedTopic(t *testing.T) {
	l := &keptLog{}
	topic := mustTopic(t, recovered(t, l), "t")
	importAll(t, topic, "")
	again := recovered(t, &keptLog{records: l.records[:l.len():l.len()]}).Lookup("t")
	if d := again.Stats().Depth; d != foreignMessages {
		t.Errorf("%d wait", d)
	}
	mustChannel(t, again, "c")
	expectForeign(t, again, "c")
}

// TestAnotherQueueOfTheName: a queue that is not the one whose import was cut short is taken in whole.
func TestAnotherQueueOfTheName(t *testing.T) {
	topic := mustTopic(t, recovered(t, &keptLog{}), "t")
	m := topic.BeginImport("queue", "an earlier one", nil)
	if err := m.Add(0, 0, 1, []byte("earlier")); err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(); err != nil {
		t.Fatal(err)
	}
	if topic.Importing() != "queue" {
		t.Errorf("importing %q", topic.Importing())
	}
	importAll(t, topic, "")
	if d := topic.Stats().Depth; d != 1+foreignMessages || topic.Importing() != "" {
		t.Errorf("%d wait, importing %q", d, topic.Importing())
	}
}

// TestAnImportThatTheDiskRefuses, wherever it does, is gone on with by the next one, in the same process or after a start: what was refused is taken in
// then, once.
func TestAnImportThatTheDiskRefuses(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for refused := range foreignMessages {
			l := &keptLog{}
			topic := mustTopic(t, recovered(t, l), "t")
			mustChannel(t, topic, "c")
			m := topic.BeginImport("queue", "source", topic.LookupChannel("c"))
			var err error
			for i := 0; i < foreignMessages && err == nil; i++ {
				if i == refused {
					l.fail(syscall.ENOSPC)
				}
				err = m.Add(int64(i), foreignAttempts(i), protocol.MessageID(i+1), fmt.Appendf(nil, "m%d", i))
			}
			if err == nil {
				err = m.Finish()
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("an import that is refused from message %d on: %v", refused, err)
			}
			l.fail(nil)
			if restart {
				topic = recovered(t, &keptLog{records: l.records[:l.len():l.len()]}).Lookup("t")
			}
			importAll(t, topic, "c")
			expectForeign(t, topic, "c")
		}
	}
}

// TestAnImportSaysWhatWasRefused: whichever records a log has lost behind a refusal, one that says that positions are void stands behind one that
// says that an import does not count them.
func TestAnImportSaysWhatWasRefused(t *testing.T) {
	l := &keptLog{}
	topic := mustTopic(t, recovered(t, l), "t")
	mustChannel(t, topic, "c")
	m := topic.BeginImport("queue", "source", topic.LookupChannel("c"))
	for i := range 5 {
		if err := m.Add(int64(i), 0, protocol.MessageID(i+1), fmt.Appendf(nil, "m%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	before := l.len()
	l.fail(syscall.EIO)
	if err := m.flush(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	l.fail(nil)
	l.mu.Lock()
	l.records = l.records[:before:before] // the log has lost all of it
	l.mu.Unlock()
	topic.pub.Lock()
	topic.voidLocked() // as a checkpoint does that comes to nothing
	topic.pub.Unlock()
	again := recovered(t, &keptLog{records: l.records[:l.len():l.len()]}).Lookup("t")
	importAll(t, again, "c")
	expectForeign(t, again, "c")
}

// TestAnImportBehindAGap is refused: the log may not know that it has begun.
func TestAnImportBehindAGap(t *testing.T) {
	l := &gapLog{keptLog: &keptLog{}}
	topic := mustTopic(t, durableRegistry(t, l), "t")
	mustChannel(t, topic, "c")
	m := topic.BeginImport("queue", "source", topic.LookupChannel("c"))
	l.gap = errors.New("records are lost")
	if err := m.Add(0, 0, 1, []byte("m0")); err != nil {
		t.Fatal(err)
	}
	if err := m.Finish(); !errors.Is(err, l.gap) || m.Done() {
		t.Errorf("it has ended with %v", err)
	}
	l.gap = nil
	importAll(t, topic, "c")
	expectForeign(t, topic, "c")
	l.gap = errors.New("more records are lost")
	if err := topic.BeginImport("another", "source", nil).Finish(); !errors.Is(err, l.gap) {
		t.Errorf("the end of an import, in front of which records are lost: %v", err)
	}
}
