package broker

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"brokerd/broker/topic"
	"brokerd/diskqueue/nsqdata"
)

// leftover is a queue in nsqd's layout that no list knows: its topic, or its channel, is not in nsqd.dat, nor in the log. A crash
// of nsqd leaves such, or an nsqd.dat that was lost or is an older copy. An nsqd finds it when somebody makes that topic or channel.
type leftover struct {
	nsqdata.Files
	unread int64 // bytes, above 0
}

// unlisted returns the queues of a folder that have something to deliver and whose topic or channel is not in list.
func unlisted(dir string, list []nsqdata.TopicMeta) (found []leftover, err error) {
	queues, _, err := nsqdata.List(dir)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, t := range list {
		known[nsqdata.TopicQueueName(t.Name)] = true
		for _, c := range t.Channels {
			known[nsqdata.ChannelQueueName(t.Name, c.Name)] = true
		}
	}
	for _, q := range queues {
		if known[q.Name] {
			continue
		}
		unread, err := nsqdata.Unread(dir, q.Name)
		if err != nil {
			return nil, fmt.Errorf("looking at disk queue %s: %w", q.Name, err)
		}
		if unread > 0 { // an empty one may be of a topic that was deleted
			found = append(found, leftover{q, unread})
		}
	}
	return found, nil
}

// missing says what no list has.
func (l *leftover) missing() string {
	if l.Channel == "" {
		return "its topic is not in nsqd.dat"
	}
	return "its channel is not in nsqd.dat"
}

// add adds the topic and channel of a queue to a list that is sorted by name; paused says of a topic that is there already.
func (l *leftover) add(list []nsqdata.TopicMeta, paused func(topic string) bool) []nsqdata.TopicMeta {
	i, ok := slices.BinarySearchFunc(list, l.Topic, func(t nsqdata.TopicMeta, name string) int { return cmp.Compare(t.Name, name) })
	if !ok {
		list = slices.Insert(list, i, nsqdata.TopicMeta{Name: l.Topic, Paused: paused(l.Topic)})
	}
	if l.Channel != "" {
		list[i].Channels = append(list[i].Channels, nsqdata.ChannelMeta{Name: l.Channel})
	}
	return list
}

// restoreUnlisted makes the topics and channels of queues that no list has where they are kept in the log, so that the take-over
// finds them. At level memory they wait for whoever makes the topic or channel, as in nsqd. The log says what is done.
func (s *Server) restoreUnlisted() error {
	found, err := unlisted(s.dataDir, s.registry.Metadata().Topics)
	if err != nil {
		return err
	}
	var list []nsqdata.TopicMeta
	for _, l := range found {
		about := []any{"queue", l.Name, "bytes", l.unread}
		t := s.registry.Lookup(l.Topic)
		switch {
		case !l.Valid():
			s.log.Error("files of a disk queue are left as they are: no topic or channel can have this name", about...)
		case l.Useless():
			s.log.Warn("files of a disk queue are left as they are: what is ephemeral has none, and nobody reads them", about...)
		case l.Ephemeral() || t == nil && s.levelOf(l.Topic) == topic.Memory || t != nil && t.Durability() == topic.Memory:
			s.log.Warn("a disk queue waits until its topic or channel is made: it is in no list", about...)
		default:
			s.log.Warn("a disk queue is in no list: its topic or channel is made", about...)
			list = l.add(list, func(string) bool { return t != nil && t.Paused() })
		}
	}
	return s.registry.Restore(nsqdata.Metadata{Topics: list})
}

// rebuildHeadless writes missing meta files of queues whose first data files are gone already: without one they would not be found.
func (s *Server) rebuildHeadless() error {
	queues, halfWritten, err := nsqdata.List(s.dataDir)
	if err != nil {
		return err
	}
	for _, name := range halfWritten { // nobody reads them, and each crash could leave one more
		if err := os.Remove(filepath.Join(s.dataDir, name)); err != nil {
			s.log.Warn("removing a file that a crash has left half-written", "file", name, "error", err)
			continue
		}
		s.log.Info("a file that a crash has left half-written is removed", "file", name)
	}
	store := queueStore{log: s.log}
	for _, q := range queues {
		if !q.Headless() {
			continue
		}
		if err := nsqdata.Rebuild(s.dataDir, q.Name, store.logf); err != nil {
			return err
		}
	}
	return nil
}
