package channel

import "time"

// Owner is whose a consumer is: a connection.
type Owner interface {
	// Wake tells that Take, which had found nothing, may find something now. It must not wait, nor call the channel.
	Wake()
	// Close ends the connection. It must not wait for the connection's goroutines, nor call the channel.
	Close()
}

// Locality is how near a consumer is.
type Locality uint8

// The localities, nearest first.
const (
	ZoneLocal Locality = iota
	RegionLocal
	Elsewhere
)

// ConsumerStats are a consumer's counters.
type ConsumerStats struct {
	Ready     int
	InFlight  int
	Delivered uint64
	Finished  uint64
	Requeued  uint64
}

// Consumer is one consumer of a channel. Whoever makes it sets its exported fields, and changes none while it is one.
type Consumer struct {
	Owner    Owner
	Ref      any    // what the channel's owner calls the consumer; the machine does not look at it
	Name     string // for people; dead letters say who had them last
	Sample   int    // percent of the messages that are delivered; 0 is all of them
	Locality Locality

	standard   time.Duration // what the node says, of a consumer that asks for no time in flight; 0: it does
	lane       int
	ready      int
	inflight   int
	parked     bool  // nobody sends: it is to be woken
	woken      bool  // it was, and has not taken yet
	reserved   int   // messages that it was woken for
	since      int64 // when it began with what it answers next
	came       int64 // when it was woken or came for messages last, where the topology counts
	turn       int64 // nanoseconds that it needs for a message, lately; 0: not known yet
	closed     bool
	prev, next *Consumer // in Machine.waiting
	listed     bool      // in Machine.waiting
	n          ConsumerStats
}

// Stats returns the counters.
func (s *Consumer) Stats() ConsumerStats {
	n := s.n
	n.Ready, n.InFlight = s.ready, s.inflight
	return n
}

// HasCredit reports whether the consumer may have a message more.
func (s *Consumer) HasCredit() bool { return s.ready > s.inflight }
