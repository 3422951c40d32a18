package broker

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/nsqdata"
	"brokerd/protocol"
)

// ErrNotEmpty is an export into a folder that holds something.
var ErrNotEmpty = errors.New("is not an empty folder")

// ErrReplicated is a folder with replicated topics, which are not exported.
var ErrReplicated = errors.New("replicated topics are not exported: other brokers of the cluster have them; all else is exported")

// Export writes what a stopped broker has to deliver as a data folder that an nsqd, or a broker at level memory, can be
// started on: topics, channels and pauses, what waits, and what was in flight or deferred, with ids, times and attempts. When
// a deferred message is due has no place in that layout: it is delivered at once. The broker's own folder is not changed. out
// must be missing or empty; the list of topics is written last, so that what an error leaves there is not served. What was
// written is told to report. With kept each topic that keeps messages gets one more channel, KeptChannel, which has all of these, finished or not. Messages
// that cannot be read are left out and make it fail with ErrDamaged, once all others are
// written; replicated topics are left out and make it fail with ErrReplicated. What is read is counted, unless read is nil.
func Export(dir, out string, kept bool, report io.Writer, read *Reading) error {
	return offline(dir, func() error {
		if err := nsqdata.CheckPlain(dir); err != nil {
			return err
		}
		if err := makeEmpty(out); err != nil {
			return err
		}
		return offline(out, func() error {
			e := exporter{checker: newChecker(dir, report, read), to: out, kept: kept}
			return e.run()
		})
	})
}

func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder for the export: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking into the folder for the export: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s %w", dir, ErrNotEmpty)
	}
	return nil
}

type exporter struct {
	checker
	to     string
	kept   bool           // what topics keep is written, too
	queue  *nsqdata.Queue // that is written to
	name   string         // of it
	count  int            // messages in it
	total  int
	record []byte
}

func (e *exporter) run() error {
	if err := e.read(); err != nil {
		return err
	}
	meta, _, err := nsqdata.LoadMetadata(e.dir)
	if err != nil {
		return err
	}
	for _, m := range e.stopped.Missing {
		e.damaged("%s", m)
	}
	for _, d := range e.stopped.Damage {
		e.damaged("%s", d)
	}
	if e.kept {
		if err := e.addKept(); err != nil {
			return err
		}
	}
	topics, err := e.everything(meta)
	if err != nil {
		return err
	}
	for _, m := range topics {
		if err := errors.Join(e.topic(m), e.closeQueue()); err != nil {
			return fmt.Errorf("exporting topic %s: %w", m.Name, err)
		}
	}
	if err := nsqdata.SaveMetadata(e.to, Version, nsqdata.Metadata{Topics: topics}); err != nil {
		return err
	}
	e.say("%d topics, %d messages", len(topics), e.total)
	if e.replicated() > 0 {
		return ErrReplicated
	}
	if e.damage > 0 {
		return fmt.Errorf("%w: %d places; all else is exported", ErrDamaged, e.damage)
	}
	return nil
}

// KeptChannel is the name of the channel that an export with kept messages adds to their topics.
const KeptChannel = "kept"

// addKept gives each topic that keeps messages a channel that reads them again from the first on.
func (e *exporter) addKept() error {
	beginning, err := topic.ParsePlace("beginning", time.Now())
	if err != nil {
		return err
	}
	for _, t := range e.stopped.Registry.Topics() {
		if t.Kept().From == 0 {
			continue
		}
		c, made, _, err := t.ChannelAt(KeptChannel, beginning)
		if err == nil && !made {
			_, err = c.Rewind(beginning, false)
		}
		if err != nil {
			return fmt.Errorf("topic %s: a channel with what is kept: %w", t.Name(), err)
		}
	}
	return nil
}

// everything returns all topics and channels of the folder: those that a list has, and those of queues that no list knows.
func (e *exporter) everything(meta nsqdata.Metadata) ([]nsqdata.TopicMeta, error) {
	list := merged(meta, e.stopped.Registry)
	slices.SortFunc(list, func(a, b nsqdata.TopicMeta) int { return cmp.Compare(a.Name, b.Name) })
	found, err := unlisted(e.dir, list)
	for _, l := range found {
		switch {
		case !l.Valid():
			e.damaged("queue %s: no nsqd makes a topic and channel of this name at its start: it is left out", l.Name)
		case l.Ephemeral():
			e.say("queue %s is left out, with %s: it is of an ephemeral topic or channel, which no nsqd makes at its start", l.Name, many(l.unread, "byte"))
		default:
			list = l.add(list, func(string) bool { return false })
		}
	}
	return list, err
}

// topic writes what the log has of a topic, and behind it what its queues in nsqd's layout have.
func (e *exporter) topic(m nsqdata.TopicMeta) error {
	t := e.stopped.Registry.Lookup(m.Name)
	if t != nil {
		if err := e.durable(t); err != nil {
			return err
		}
	}
	if err := e.copy(t, nsqdata.TopicQueueName(m.Name)); err != nil {
		return err
	}
	for _, c := range m.Channels {
		if err := e.copy(t, nsqdata.ChannelQueueName(m.Name, c.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) durable(t *topic.Topic) error {
	h, err := t.Inspect(e.stopped.Recovery)
	if err != nil {
		return err
	}
	lost, err := t.Unload(func(channel string, m protocol.MessageFrame, attempts uint16) error {
		name := nsqdata.TopicQueueName(t.Name())
		if channel != "" {
			name = nsqdata.ChannelQueueName(t.Name(), channel)
		}
		return e.put(name, m.Timestamp(), attempts, m.MustID(), m.Body())
	})
	if lost += h.Missing; lost > 0 {
		e.damaged("topic %s: %d messages cannot be read", t.Name(), lost)
	}
	return err
}

// copy copies a queue that is in nsqd's layout already, but for what the log has taken over of it.
func (e *exporter) copy(t *topic.Topic, name string) error {
	if !e.queues[name] {
		return nil
	}
	had, done, err := uint64(0), false, error(nil)
	if t != nil {
		source, sourceErr := nsqdata.Source(e.dir, name)
		err = sourceErr
		had, done = t.Imported(name, source)
	}
	if err != nil || done {
		return err
	}
	report, err := e.scan(name, func(r nsqdata.Record) error {
		if had > 0 {
			had--
			return nil
		}
		return e.put(name, r.Timestamp, r.Attempts, r.ID, r.Body)
	})
	for _, d := range report.Damage {
		e.damaged("queue %s: %s", name, d)
	}
	return err
}

// put appends a message to a queue. The messages of a queue come one behind the other, so that one is open at a time, or in
// two parts.
func (e *exporter) put(name string, timestamp int64, attempts uint16, id protocol.MessageID, body []byte) error {
	if e.queue == nil || e.name != name {
		if err := e.closeQueue(); err != nil {
			return err
		}
		o := DefaultOptions()
		q, err := nsqdata.Open(name, nsqdata.QueueOptions{Dir: e.to, MaxBytesPerFile: o.MaxBytesPerFile,
			MinMsgSize: nsqdata.RecordHeaderSize, MaxMsgSize: math.MaxInt32, SyncEvery: math.MaxInt64, SyncTimeout: o.SyncTimeout})
		if err != nil {
			return err
		}
		e.queue, e.name, e.count = q, name, 0
	}
	e.record = nsqdata.AppendRecord(e.record[:0], timestamp, attempts, id, body)
	e.count++
	e.total++
	return e.queue.Put(e.record)
}

func (e *exporter) closeQueue() error {
	if e.queue == nil {
		return nil
	}
	e.say("queue %s: %d messages", e.name, e.count)
	err := e.queue.Close()
	e.queue = nil
	return err
}
