package broker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"brokerd/broker/topic"
	"brokerd/diskqueue/nsqdata"
)

// importedFolder is where the files of queues go, in the data folder, once their messages are in the log.
const importedFolder = "nsqd-imported"

// takeOver moves the queues that an nsqd, or a broker at level memory, has left of topics that are kept in the log now into
// the log: each message once, with its id, time and attempts. A queue's
// files are put aside once all of it is synced. What a crash, or the end of ctx, cuts short the next start goes on with.
func (s *Server) takeOver(ctx context.Context) error {
	for _, t := range s.registry.Topics() {
		if t.Durability() == topic.Memory {
			continue
		}
		if err := s.takeOverTopic(ctx, t); err != nil {
			return fmt.Errorf("taking over topic %s: %w (nothing is lost: the next start goes on with it)", t.Name(), err)
		}
	}
	return nil
}

// oldQueue is a queue of nsqd's layout and who gets its messages.
type oldQueue struct {
	name    string
	channel *topic.Channel // nil: the topic
}

// takeOverTopic takes over a topic's queues: one that was cut short before the others, as the log remembers one only, then
// those of channels, whose messages are older than what the topic has for all of them.
func (s *Server) takeOverTopic(ctx context.Context, t *topic.Topic) error {
	var queues []oldQueue
	for _, c := range t.Channels() {
		queues = append(queues, oldQueue{nsqdata.ChannelQueueName(t.Name(), c.Name()), c})
	}
	queues = append(queues, oldQueue{name: nsqdata.TopicQueueName(t.Name())})
	unfinished := t.Importing()
	for _, first := range []bool{true, false} {
		for _, q := range queues {
			if (q.name == unfinished) != first || !first && !nsqdata.Exists(s.dataDir, q.name) {
				continue
			}
			if err := s.takeOverQueue(ctx, t, q); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) takeOverQueue(ctx context.Context, t *topic.Topic, q oldQueue) error {
	source, err := nsqdata.Source(s.dataDir, q.name)
	if err != nil {
		return err
	}
	m := t.BeginImport(q.name, source, q.channel)
	if !m.Done() {
		if err := s.copyQueue(ctx, m, q); err != nil {
			return err
		}
	}
	into := filepath.Join(s.dataDir, importedFolder)
	if err := os.MkdirAll(into, 0o755); err != nil {
		return fmt.Errorf("making a folder for what was taken over: %w", err)
	}
	if err := nsqdata.PutAside(s.dataDir, q.name, into); err != nil {
		return err
	}
	if err := m.Forget(); err != nil {
		return fmt.Errorf("queue %s: %w", q.name, err)
	}
	s.log.Info("took over a queue", "queue", q.name, "messages", m.Taken(), "files", into)
	return nil
}

// copyQueue brings the messages of a queue into the log, synced.
func (s *Server) copyQueue(ctx context.Context, m *topic.Import, q oldQueue) error {
	report, err := nsqdata.Scan(s.dataDir, q.name, func(r nsqdata.Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return m.Add(r.Timestamp, r.Attempts, r.ID, r.Body)
	})
	for _, d := range report.Damage {
		s.log.Error("a queue that is taken over is damaged", "queue", q.name, "where", d)
	}
	if err == nil {
		err = m.Finish()
	}
	if err != nil {
		return fmt.Errorf("queue %s: %w", q.name, err)
	}
	return nil
}
