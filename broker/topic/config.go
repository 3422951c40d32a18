package topic

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/nsqdata"
	"brokerd/diskqueue/stall"
)

// Errors of this package. Their texts stand in error frames.
var (
	ErrExiting         = errors.New("exiting")
	ErrTopicNotFound   = errors.New("topic not found")
	ErrChannelNotFound = errors.New("channel not found")
	ErrInvalidName     = errors.New("invalid name")
)

// QueueStore opens the queues on disk that overflow goes to.
type QueueStore interface {
	// Exists reports whether a queue of that name was left in the folder.
	Exists(name string) bool
	// Open opens or creates it.
	Open(name string) (*nsqdata.Queue, error)
}

// LatencyObserver is fed with how long finished messages took.
type LatencyObserver interface {
	Observe(ns int64)
}

// Config is what a Registry is built with.
type Config struct {
	NodeID        int64
	MemQueueSize  int           // messages that a channel keeps in memory; 0 sends all to disk
	MaxMemory     int64         // bytes of messages in memory, beyond which what can be on disk goes there; 0: no limit
	DedupMemory   int64         // bytes of deduplication keys in memory, beyond which the oldest are forgotten; 0: no limit
	MaxMsgTimeout time.Duration // most that TOUCH extends to, counted from the delivery
	MaxReqTimeout time.Duration // a longer REQ delay is cut to it
	MaxConsumers  int           // per channel; 0 is no limit
	MaxTopics     int           // 0 is no limit
	MaxChannels   int           // per topic; 0 is no limit
	TopologyAware bool          // consumers of the own zone, then region, come first

	// Journal and Segments keep the topics of a level above memory. Level says a new topic's level; nil: all are at memory.
	Journal Log
	// Unpromised is why no topic may be moved from level memory into the Journal, nor one that is there be published to; nil: it may be.
	Unpromised error
	// Scan gives what the log has still, as far as it is written, record by record; nil: nothing is told of what has happened to messages.
	Scan     func(ctx context.Context, f func(journal.Offset, journal.Kind, []byte) error) error
	Segments Segments
	Level    func(topic string) Level
	// Need returns once the folder says that it uses a feature, so that no older build misreads it; it waits for the disk, the first
	// time. Nil: nobody keeps that.
	Need func(journal.Feature) error

	Patterns Patterns // of options, at the start

	Queues QueueStore // nil: there is no disk, all overflow is discarded
	IDs    IDStore    // nil: ids start from the clock alone

	// Latency makes the observer of one channel; nil when nobody asked for latencies.
	Latency func() LatencyObserver
	// Learn returns the channels of a new topic that the lookups know. Nil when there are no lookups. It may take as long as
	// its timeouts; until it returns the topic's messages wait.
	Learn func(ctx context.Context, topic string) []string
	// Alone reports whether there is no lookup now, so that a topic that is made has nothing to wait for. Nil: there always is one.
	Alone func() bool
	// Elsewhere returns an ErrElsewhere when a topic is replicated, so that none of its name is made here: who leads it has it. Nil: no
	// topic is.
	Elsewhere func(topic string) error
	// Yields is told that there is a topic which is to give way to a replicated one. It waits for nothing. Nil: nobody sees to that.
	Yields func()
	// Changed is called, without a lock, after a topic or channel has come, gone, or changed its pause. Nil: nobody asks.
	Changed func()
	// Made is called, without a lock, after Changed of a topic that was made for who asks for it, and who waits for it. Nil: nobody
	// needs that.
	Made func()
	// Trace is told of messages; nil: nobody asks.
	Trace Tracer
	// Save writes Metadata down and returns when that is done. Nil: nobody keeps it.
	Save func() error

	Disk *stall.Watch // knows which calls to the disk are out; nil: nobody does

	Log *slog.Logger
}

// ephemeralBound is how many messages an ephemeral channel keeps when MemQueueSize is 0: it has no disk to put them on.
const ephemeralBound = 10000
