package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"brokerd/broker/storage"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
	"brokerd/diskqueue/vfs"
)

// ErrAcceptLoss is a repair that nobody has allowed to lose something.
var ErrAcceptLoss = errors.New("a repair gives up what is missing: look at what that is above, and say --accept-loss when it cannot be put back")

// Repair makes the folder of a stopped broker whole without the pieces that are missing, and says on out what that costs. What it leaves
// out is moved to set-aside/, with a note. It does nothing to a folder that is whole. Without acceptLoss it only says what is missing,
// and fails with ErrAcceptLoss. It fails with storage.ErrVersion for a folder of another version, and with an error that wraps
// nsqdata.ErrLocked when a broker runs on it. What is read is counted, unless read is nil.
func Repair(dir string, acceptLoss bool, out io.Writer, read *Reading) error {
	return offline(dir, func() error {
		c := newChecker(dir, out, read)
		meta, _, noList := nsqdata.LoadMetadata(dir)
		stopped, err := storage.Read(c.reading.meter.Over(vfs.OS()), dir, int(DefaultOptions().MemQueueSize), listed(meta), slog.New(slog.DiscardHandler))
		if err != nil && !acceptLoss {
			return err
		}
		if errors.Is(err, storage.ErrVersion) {
			return err
		}
		if noList != nil && !errors.Is(noList, nsqdata.ErrMetadata) {
			return noList // a disk that cannot read is no loss to accept
		}
		if err == nil && len(stopped.Missing) == 0 && (noList == nil || !storage.Exists(dir)) {
			c.say("nothing is missing: there is nothing to repair")
			return noList
		}
		if !acceptLoss {
			if noList != nil {
				c.say("MISSING %v", noList)
			}
			for _, m := range stopped.Missing {
				c.say("MISSING %s", m)
			}
			return ErrAcceptLoss
		}
		var note bytes.Buffer
		r := repairer{checker: newChecker(dir, io.MultiWriter(out, &note), c.reading), note: &note}
		return r.run()
	})
}

// repairer is a start that accepts a loss, writes down what there is, and stops.
type repairer struct {
	checker
	note *bytes.Buffer // what was said
	ids  *nsqdata.IDs
	meta nsqdata.Metadata
}

func (r *repairer) run() error {
	var noIDs error
	if r.ids, noIDs = nsqdata.OpenIDs(r.dir); noIDs != nil && !errors.Is(noIDs, nsqdata.ErrIDs) { // the manifest may have a copy
		return noIDs
	}
	var noList error
	r.meta, _, noList = nsqdata.LoadMetadata(r.dir)
	o := DefaultOptions()
	log := slog.New(slog.DiscardHandler)
	k, recovery, err := storage.Open(storage.Options{FS: r.reading.meter.Over(vfs.OS()), Dir: r.dir, SyncEvery: o.SyncEvery, SyncTimeout: o.SyncTimeout, Log: log,
		NodeID: o.NodeID, IDs: r.ids.Bound, AcceptLoss: true, Listed: listed(r.meta)})
	if err != nil {
		return err
	}
	if r.ids.Raise(k.IDs()); r.ids.Bound() == 0 && noIDs != nil {
		return errors.Join(noIDs, k.Abandon())
	}
	if err := clearIDs(k, noIDs); err != nil {
		return errors.Join(err, k.Abandon())
	}
	registry := topic.NewRegistry(topic.Config{NodeID: o.NodeID, MemQueueSize: int(o.MemQueueSize), MaxMsgTimeout: o.MaxMsgTimeout,
		MaxReqTimeout: o.MaxReqTimeout, Journal: k.Journal(), Segments: k.Segments(), Level: r.level, Log: log, IDs: r.ids,
		Queues: &queueStore{dir: r.dir, name: r.dir, opts: &o, log: log}})
	for _, m := range slices.Concat(k.Opened().Missing, k.Opened().Unreadable) {
		r.say("given up: %s", m)
	}
	if noList != nil {
		if err := k.SetAside(nsqdata.MetadataFile); err != nil {
			return errors.Join(err, k.Abandon())
		}
		r.say("given up: the list of topics: %v", noList)
		r.say("topics at level memory are known by their queues on disk only: others, and pauses, are not there")
	}
	if err := errors.Join(r.unknown(k, recovery), registry.Recover(recovery)); err != nil {
		return errors.Join(err, k.Abandon())
	}
	for _, t := range registry.Topics() {
		if err := r.topic(t, recovery); err != nil {
			return errors.Join(err, k.Abandon())
		}
	}
	r.unlisted(registry)
	if err := registry.Restore(r.logged()); err != nil {
		return errors.Join(err, k.Abandon())
	}
	k.Start(registry)
	if err := errors.Join(registry.Close(), k.Close(), k.Note(r.note.String())); err != nil {
		return fmt.Errorf("repairing the folder: %w", err)
	}
	r.say("the folder is whole again, without what is named above; set-aside/ has what was left out, and this text")
	return nil
}

// level is that which the list of topics says.
func (r *repairer) level(name string) topic.Level {
	for _, t := range r.meta.Topics {
		if l, err := topic.ParseLevel(t.Durability); t.Name == name && err == nil {
			return l
		}
	}
	return topic.Disk
}

// listed is what a list of topics says, for topics that no checkpoint names.
func listed(meta nsqdata.Metadata) (list []*journal.Topic) {
	for _, t := range meta.Topics {
		l := &journal.Topic{ID: t.Number, Name: t.Name, Paused: t.Paused, Options: t.Options}
		for _, c := range t.Channels {
			l.Channels = append(l.Channels, &journal.Channel{ID: c.Number, Name: c.Name, Paused: c.Paused, Options: c.Options})
		}
		list = append(list, l)
	}
	return list
}

// logged is the part of the list of topics that was in the log: the others are served from nsqd's own files, as before.
func (r *repairer) logged() (m nsqdata.Metadata) {
	m.Topics = slices.DeleteFunc(slices.Clone(r.meta.Topics), func(t nsqdata.TopicMeta) bool {
		l, err := topic.ParseLevel(t.Durability)
		return err != nil || l == topic.Memory
	})
	return m
}

// unknown says what segments hold of which nobody knows the topic.
func (r *repairer) unknown(k *storage.Engine, recovery *topic.Recovery) error {
	list, err := k.UnknownSegments(recovery)
	for _, u := range list {
		r.say("left out: segments/%d, %d messages of a topic of which neither name nor channels are known", u.Topic, u.Messages)
	}
	return err
}

// topic says what is left of a topic, and what is not.
func (r *repairer) topic(t *topic.Topic, recovery *topic.Recovery) error {
	h, err := t.Inspect(recovery)
	if err != nil {
		return err
	}
	for _, c := range h.Channels {
		name := "channel " + c.Name
		if c.Name == "" {
			name = "for channels to come"
		}
		if c.Name != "" || c.Waiting+c.Out+c.Deferred+c.Missing > 0 {
			r.say("topic %s, %s: %d waiting, %d out, %d deferred are served, %d are left out", t.Name(), name, c.Waiting, c.Out, c.Deferred,
				c.Missing)
		}
	}
	r.salvaged(t, h)
	for _, d := range h.Damage {
		r.say("topic %s: %s cannot be read", t.Name(), d)
	}
	return nil
}

// unlisted names the topics that were in the log and are not any more.
func (r *repairer) unlisted(registry *topic.Registry) {
	var names []string
	for _, t := range r.logged().Topics {
		if registry.Lookup(t.Name) == nil {
			names = append(names, t.Name)
		}
	}
	if len(names) > 0 {
		r.say("made anew, with their channels and without a message, as the list of topics names them: %s", strings.Join(names, ", "))
	}
}
