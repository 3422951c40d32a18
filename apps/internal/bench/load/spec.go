package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"brokerd/protocol"
)

// Broker is what is put under load.
type Broker struct {
	TCP      string // host:port, or the path of a unix socket
	HTTP     string // host:port; empty is none: topics are left behind, and its counts are not compared
	PID      int    // of its process on this machine; 0 when its CPU and memory are not to be told
	Token    string // that it is shown, by AUTH and as Bearer; empty for none
	DataPath string // its data folder on this machine; empty when its size is not to be told
}

// Kind says what is done.
type Kind string

// The kinds of load.
const (
	Publish   Kind = "pub"    // publish only
	Subscribe Kind = "sub"    // publish first, then consume all of it as fast as it goes
	Replay    Kind = "replay" // publish, consume all of it, and read it again from the beginning
	EndToEnd  Kind = "e2e"    // publish and consume at the same time
	Deferred  Kind = "defer"  // publish with a delay, and see how late the messages come
	Held      Kind = "held"   // publish with a long delay, and see what the broker needs to hold them
	Topics    Kind = "topics" // make topics with channels, and see what they cost while nothing happens
	Conns     Kind = "conns"  // connect consumers, and see what they cost while nothing happens
)

// Spec is one load. Fields that a kind does not read are ignored by it.
type Spec struct {
	Kind     Kind
	Topic    string        // its name, or with several topics the start of their names; empty is a name made up
	Messages int64         // how many are published; 0 is no bound
	Duration time.Duration // how long is published, or how long the broker is watched idle; 0 is no bound
	Limit    time.Duration // after which everything ends whatever was reached
	Patience time.Duration // without a message, before what is missing counts as lost; 0 is 5 seconds

	Size       int           // bytes of a body, 16 or more
	Keys       uint32        // how many keys the messages have, evenly, in bytes 16 to 19 of their bodies; 0: none
	Batch      int           // messages in one MPUB; 1 is PUB; 0 is 1 with a rate, else as many as fit in 1 MiB, at most 200, or 50 of EndToEnd
	Publishers int           // connections that publish
	Depth      int           // publishes a publisher has unanswered at most
	Rate       float64       // messages per second of all publishers; 0 is as fast as it goes
	Topics     int           // published to in turn
	Channels   int           // of each topic
	Consumers  int           // of each channel of each topic; with Conns in all
	RDY        int           // of each consumer
	Buffering  time.Duration // output buffer timeout that consumers ask for; negative is none, 0 the broker's own
	Delay      time.Duration // of deferred messages
	Take       int64         // Subscribe: how many messages of a channel are consumed of those published; 0 is all

	// Options are those of the topics, as a JSON object that POST /topic/config takes; empty: none are set.
	Options string

	Keep bool // topics stay even though their name was made up: the broker goes anyway
	// AfterFill, when set, is called between publishing and consuming of Subscribe.
	AfterFill func()
}

// Bounds of a Spec.
const (
	MinSize         = 16
	MaxSize         = 64 << 20
	defaultPatience = 5 * time.Second
	maxBatchBody    = 1 << 20 // bytes; what a batch is by default
	maxBatch        = 200
	// While they are also consumed, large batches are latency.
	maxBatchEndToEnd = 50
)

// settle fills in what was left to be chosen.
func (s *Spec) settle() {
	if s.Patience == 0 {
		s.Patience = defaultPatience
	}
	if s.Kind == Deferred || s.Kind == Held {
		s.Batch = 1 // there is no deferred MPUB
	}
	switch {
	case s.Batch > 0:
	case s.Rate > 0:
		s.Batch = 1
	case s.Kind == EndToEnd:
		s.Batch = min(max(maxBatchBody/(s.Size+4), 1), maxBatchEndToEnd)
	default:
		s.Batch = min(max(maxBatchBody/(s.Size+4), 1), maxBatch)
	}
}

// Check returns an error that names what is not possible.
func (s *Spec) Check() error {
	positive := func(what string, n int) error {
		if n < 1 {
			return fmt.Errorf("%s must be 1 or more, not %d", what, n)
		}
		return nil
	}
	err := errors.Join(positive("publishers", s.Publishers), positive("depth", s.Depth), positive("topics", s.Topics),
		positive("channels", s.Channels), positive("consumers", s.Consumers), positive("rdy", s.RDY))
	switch {
	case err != nil:
		return err
	case s.Size < MinSize || s.Size > MaxSize:
		return fmt.Errorf("size must be %d to %d bytes, not %d", MinSize, MaxSize, s.Size)
	case s.Keys > 0 && s.Size < MinSize+4:
		return fmt.Errorf("size must be %d bytes or more for bodies with keys, not %d", MinSize+4, s.Size)
	case s.Batch < 0 || int64(s.Batch)*int64(s.Size+4) > MaxSize:
		return fmt.Errorf("batch must be 0 or more and its messages at most %d bytes in all, not %d", MaxSize, s.Batch)
	case s.Rate < 0:
		return fmt.Errorf("rate must not be negative: %v", s.Rate)
	case s.Messages < 0 || s.Messages > maxNumber:
		return fmt.Errorf("messages must be 0 to %d, not %d", int64(maxNumber), s.Messages)
	case s.Duration < 0 || s.Delay < 0:
		return errors.New("a duration must not be negative")
	case s.Limit <= 0:
		return errors.New("the limit of the run must be positive")
	case s.Messages == 0 && s.Duration == 0:
		return errors.New("either messages or duration must bound the load")
	case s.Options != "" && !json.Valid([]byte(s.Options)):
		return fmt.Errorf("options must be a JSON object as {\"retain_bytes\":\"10GiB\"}, not %q", s.Options)
	case s.Kind == Held && s.Messages == 0:
		return errors.New("how many messages are to be held must be given")
	case s.Topic != "" && !protocol.ValidName(s.topicName(s.Topics-1)):
		return fmt.Errorf("%q is no name of a topic", s.topicName(s.Topics-1))
	}
	return nil
}

// topicName is the name of topic i of the load.
func (s *Spec) topicName(i int) string {
	if s.Topics == 1 {
		return s.Topic
	}
	return fmt.Sprintf("%s-%d", s.Topic, i)
}
