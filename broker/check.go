package broker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"brokerd/broker/storage"
	"brokerd/broker/topic"
	"brokerd/diskqueue/nsqdata"
	"brokerd/diskqueue/vfs"
)

// ErrDamaged is a folder in which something cannot be read.
var ErrDamaged = errors.New("the folder is damaged")

// Check reads the data folder of a stopped broker, changes nothing, and writes what is in it and what a start would do. It
// fails with ErrDamaged when something was there that cannot be read, with storage.ErrIncomplete when something is missing for which a
// start refuses, with storage.ErrVersion for a folder of another version, and with an error that wraps nsqdata.ErrLocked when a broker
// runs on the folder. What is read is counted, unless read is nil.
func Check(dir string, out io.Writer, read *Reading) error {
	return offline(dir, func() error {
		c := newChecker(dir, out, read)
		if err := c.run(); err != nil {
			return err
		}
		if n := len(c.stopped.Missing); n > 0 {
			return fmt.Errorf("%w: a start refuses, as %d pieces are missing: put them back, or give them up with `brokerd repair %s "+
				"--accept-loss`", storage.ErrIncomplete, n, dir)
		}
		if c.damage > 0 {
			return fmt.Errorf("%w: %d places", ErrDamaged, c.damage)
		}
		c.say("no damage")
		return nil
	})
}

// offline runs f while no broker can start on the folder.
func offline(dir string, f func() error) error {
	lock, err := nsqdata.LockDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f(), lock.Unlock())
}

// checker writes down what a folder holds. The first write that fails is not told: who reads nothing sees the exit code.
type checker struct {
	dir     string
	out     io.Writer
	reading *Reading
	damage  int
	stopped *storage.Stopped
	queues  map[string]bool // of which there are files in nsqd's layout
}

func newChecker(dir string, out io.Writer, read *Reading) checker {
	if read == nil {
		read = new(Reading)
	}
	return checker{dir: dir, out: out, reading: read}
}

// scan is nsqdata.Scan of a queue in the folder, counted.
func (c *checker) scan(name string, f func(nsqdata.Record) error) (nsqdata.ScanReport, error) {
	what := "queue " + name
	return nsqdata.Scan(c.dir, name, func(r nsqdata.Record) error {
		c.reading.meter.Add(what, nsqdata.RecordHeaderSize+len(r.Body))
		return f(r)
	})
}

// read looks at all that is in the folder, but for the list of topics.
func (c *checker) read() (err error) {
	meta, _, _ := nsqdata.LoadMetadata(c.dir) // what is wrong with it is told elsewhere
	if c.stopped, err = storage.Read(c.reading.meter.Over(vfs.OS()), c.dir, int(DefaultOptions().MemQueueSize), listed(meta), slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	found, _, err := nsqdata.List(c.dir)
	c.queues = make(map[string]bool, len(found))
	for _, q := range found {
		c.queues[q.Name] = true
	}
	return err
}

// many is a number of things.
func many(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

func (c *checker) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

func (c *checker) damaged(format string, args ...any) {
	c.damage++
	c.say("DAMAGE "+format, args...)
}

func (c *checker) run() (err error) {
	if err := c.read(); err != nil {
		return err
	}
	meta, warnings, err := nsqdata.LoadMetadata(c.dir)
	if err != nil {
		c.damaged("%v: a start fails", err)
	}
	if err := nsqdata.CheckPlain(c.dir); err != nil {
		c.damaged("%v: a start fails", err)
	}
	for _, w := range warnings {
		c.damaged("list of topics: %s", w)
	}
	c.ids()
	c.log()
	durable := map[string]bool{}
	for _, t := range c.stopped.Registry.Topics() {
		durable[t.Name()] = true
		if err := c.durable(t); err != nil {
			return err
		}
	}
	list := merged(meta, c.stopped.Registry)
	for _, m := range list {
		if !durable[m.Name] {
			c.say("topic %s%s: not in the log: served at level memory, taken over by a start at level disk or fsync", m.Name, paused(m.Paused))
		}
		if err := c.old(m, c.stopped.Registry.Lookup(m.Name)); err != nil {
			return err
		}
	}
	if err := c.unlisted(list); err != nil {
		return err
	}
	return c.aside()
}

// ids looks at the bound of message ids as a start does.
func (c *checker) ids() {
	switch _, err := nsqdata.OpenIDs(c.dir); {
	case err == nil:
	case errors.Is(err, nsqdata.ErrIDs) && c.stopped.IDs() > 0:
		c.damaged("%v: a start goes by the manifest's copy, and nothing is lost", err)
	default:
		c.damaged("%v: a start fails", err)
	}
}

// uselessQueue is what becomes of the files of a queue that are nsqdata.Files.Useless.
const uselessQueue = "what is ephemeral has no queue on disk: a start leaves the files as they are, and nobody reads them"

// unlisted writes down the queues in nsqd's layout that no list knows, and what a crash has left half-written.
func (c *checker) unlisted(list []nsqdata.TopicMeta) error {
	found, err := unlisted(c.dir, list)
	if err != nil {
		return err
	}
	for _, l := range found {
		report, err := c.scan(l.Name, func(nsqdata.Record) error { return nil })
		if err != nil {
			return err
		}
		what := "a start at level disk or fsync makes it and takes them over, one at level memory serves them when it is made"
		switch {
		case !l.Valid():
			what = "no topic or channel can have this name: a start leaves the files as they are"
		case l.Useless():
			c.say("queue %s: %d messages, %d bytes: %s", l.Name, report.Records, report.Bytes, uselessQueue)
			continue
		case l.Ephemeral():
			what = "a start serves them when it is made"
		}
		c.say("queue %s: %d messages, %d bytes: %s: %s", l.Name, report.Records, report.Bytes, l.missing(), what)
		for _, d := range report.Damage {
			c.damaged("queue %s: %s", l.Name, d)
		}
	}
	_, halfWritten, err := nsqdata.List(c.dir)
	for _, name := range halfWritten {
		c.say("half-written, which a crash leaves: a start removes it: %s", name)
	}
	return err
}

// log writes down the checkpoint and the log.
func (c *checker) log() {
	if !storage.Exists(c.dir) {
		c.say("no log: nothing in this folder was kept at level disk or fsync")
		return
	}
	checkpoint := c.stopped.Checkpoint
	if checkpoint == "" {
		checkpoint = "no checkpoint"
	}
	r := &c.stopped.Log
	c.say("a start reads %s and %s, %s, in %s of the log", checkpoint, many(int64(r.Records), "record"), many(int64(r.Bytes), "byte"), many(int64(r.Files), "file"))
	for _, m := range c.stopped.Missing {
		c.say("MISSING %s", m)
	}
	for _, d := range c.stopped.Damage {
		c.damaged("%s", d)
	}
	c.replicated()
	for _, path := range c.stopped.Unknown {
		c.say("of no use to a start, which puts it aside: %s", path)
	}
	for _, l := range c.stopped.Leftovers {
		c.say("unfinished, which a crash leaves, without loss: %s", l)
	}
}

// replicated says what is not looked into, and how many groups of topics that are.
func (c *checker) replicated() int {
	n := c.stopped.Groups()
	if n > 0 {
		c.say("REPLICATED this broker is a member of a cluster, and has replicas of topics in %s: what they hold is not looked into", many(int64(n), "group"))
	}
	return n
}

// durable writes down a topic that is kept in the log.
func (c *checker) durable(t *topic.Topic) error {
	h, err := t.Inspect(c.stopped.Recovery)
	if err != nil {
		return err
	}
	files, damage, err := c.stopped.TopicFiles(t.Name())
	if err != nil {
		return err
	}
	c.say("topic %s%s: level %s, %s, %s", t.Name(), paused(t.Paused()), t.Durability(), many(int64(files), "segment"), many(int64(h.Bytes), "byte"))
	for _, ch := range h.Channels {
		name := "channel " + ch.Name + paused(ch.Paused)
		if ch.Name == "" {
			name = "for channels to come"
			if ch.Waiting+ch.Out+ch.Deferred+ch.Missing == 0 {
				continue
			}
		}
		c.say("  %s: %d waiting, %d out, %d deferred", name, ch.Waiting, ch.Out, ch.Deferred)
		if ch.Missing > 0 {
			c.damaged("topic %s, %s: %d messages are needed and in no segment, nor in the log: a start goes on without them", t.Name(), name,
				ch.Missing)
		}
	}
	if h.Kept.From > 0 {
		c.say("  kept: %d messages that all channels are done with, from position %d on", h.Kept.Messages, h.Kept.From)
	}
	for _, d := range append(damage, h.Damage...) {
		c.damaged("topic %s: %s: a start serves the rest", t.Name(), d)
	}
	for _, d := range h.Kept.Damage {
		c.damaged("topic %s: %s that all channels are done with: a start keeps the rest", t.Name(), d)
	}
	c.salvaged(t, h)
	return nil
}

// salvaged writes down what only segments say of a topic, and of what nothing is left.
func (c *checker) salvaged(t *topic.Topic, h topic.Holding) {
	if h.Salvaged > 0 {
		c.say("topic %s: %d messages are in its segments, and neither checkpoint nor log says what became of them: a repair has all wait in "+
			"each channel, those too that were finished or not due yet", t.Name(), h.Salvaged)
	}
	for _, gap := range h.Gaps {
		c.say("topic %s: nothing is left of the messages %v, nor whether they were finished: %d at most are left out", t.Name(), gap, gap.Len())
	}
}

// old writes down what there is of a topic in nsqd's layout.
func (c *checker) old(m nsqdata.TopicMeta, t *topic.Topic) error {
	names := []string{nsqdata.TopicQueueName(m.Name)}
	for _, ch := range m.Channels {
		names = append(names, nsqdata.ChannelQueueName(m.Name, ch.Name))
	}
	for _, name := range names {
		if !c.queues[name] {
			continue
		}
		report, err := c.scan(name, func(nsqdata.Record) error { return nil })
		if err != nil {
			return err
		}
		what := ""
		if t != nil {
			what = ": a start takes them over"
			source, err := nsqdata.Source(c.dir, name)
			if err != nil {
				return err
			}
			if n, done := t.Imported(name, source); done || n > 0 {
				what = fmt.Sprintf(": a start goes on with taking them over, %d are in the log", n)
			}
		}
		c.say("  queue %s: %d messages, %d bytes%s", name, report.Records, report.Bytes, what)
		for _, d := range report.Damage {
			c.damaged("queue %s: %s: a start serves the rest", name, d)
		}
	}
	return nil
}

// aside writes down what earlier starts have put aside.
func (c *checker) aside() error {
	return filepath.WalkDir(c.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && storage.IsAside(c.dir, path) {
			c.say("put aside by an earlier start: %s", path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
}

func paused(p bool) string {
	if p {
		return " (paused)"
	}
	return ""
}

// merged returns all topics and channels of a folder: those of nsqd.dat that a start would make, and what only the log has.
func merged(meta nsqdata.Metadata, r *topic.Registry) []nsqdata.TopicMeta {
	at := map[string]int{}
	list := r.Unlogged(meta).Topics
	for i, m := range list {
		at[m.Name] = i
	}
	for _, m := range r.Metadata().Topics {
		i, ok := at[m.Name]
		if !ok {
			list = append(list, m)
			continue
		}
		known := map[string]bool{}
		for _, c := range list[i].Channels {
			known[c.Name] = true
		}
		for _, c := range m.Channels {
			if !known[c.Name] {
				list[i].Channels = append(list[i].Channels, c)
			}
		}
	}
	return list
}
