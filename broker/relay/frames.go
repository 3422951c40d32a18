package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// The kinds of frames, see the package comment.
const (
	FirstKind peer.Kind = 48
	LastKind  peer.Kind = 63
)

const (
	kindSubscribe peer.Kind = FirstKind + iota
	kindReady
	kindAnswers
	kindLeave
	kindTaken
	kindSubscribed
	kindRefused
	kindMessages
	kindFailed
	kindGone
)

// Subscription is what a client asks for, as its node says it to who leads.
type Subscription struct {
	Topic      string         `json:"topic"`
	Channel    string         `json:"channel"`
	Name       string         `json:"name"`
	MsgTimeout time.Duration  `json:"msg_timeout"` // nanoseconds
	Standard   bool           `json:"standard,omitempty"`
	SampleRate int            `json:"sample_rate,omitempty"`
	Client     httpapi.Client `json:"client"`
	Via        string         `json:"via"` // the client's node, for people
}

// Welcome is the answer to a Subscription that is taken.
type Welcome struct {
	MsgTimeout time.Duration `json:"msg_timeout"` // that counts for the client, nanoseconds
}

// Refusal is the answer to one that is not.
type Refusal struct {
	Elsewhere bool   `json:"elsewhere,omitempty"` // this node does not serve the topic now
	Leader    string `json:"leader,omitempty"`    // folder of who does, as far as this node knows
	Reason    string `json:"reason,omitempty"`
}

// Reasons of a gone.
const (
	goneMoved   byte = 0
	goneEnded   byte = 1
	goneQuietly byte = 255 // it is not told
)

var errFrame = errors.New("a frame of a relay that cannot be read")

const answerSize = 17

func appendAnswer(dst []byte, a *topic.Answer) []byte {
	dst = append(dst, byte(a.Verb))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.ID))
	return binary.BigEndian.AppendUint64(dst, uint64(a.Delay))
}

// parseAnswers appends what a frame of answers has.
func parseAnswers(dst []topic.Answer, b []byte) ([]topic.Answer, error) {
	if len(b)%answerSize != 0 {
		return dst, fmt.Errorf("%w: answers of %d bytes", errFrame, len(b))
	}
	for ; len(b) > 0; b = b[answerSize:] {
		a := topic.Answer{Verb: topic.Verb(b[0]), ID: protocol.MessageID(binary.BigEndian.Uint64(b[1:])), Delay: time.Duration(binary.BigEndian.Uint64(b[9:]))}
		if a.Verb > topic.Touch || a.Delay < 0 {
			return dst, fmt.Errorf("%w: an answer of kind %d with delay %d", errFrame, a.Verb, a.Delay)
		}
		dst = append(dst, a)
	}
	return dst, nil
}

const (
	failureHead = 10
	maxReason   = 255
)

func appendFailure(dst []byte, a *topic.Answer) []byte {
	why := a.Err.Error()
	why = why[:min(len(why), maxReason)]
	dst = append(dst, byte(a.Verb))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.ID))
	dst = append(dst, byte(len(why)))
	return append(dst, why...)
}

// parseFailures returns the answers that have failed, as a frame says.
func parseFailures(b []byte) (list []topic.Answer, err error) {
	for len(b) > 0 {
		if len(b) < failureHead || b[0] > byte(topic.Touch) || len(b) < failureHead+int(b[9]) {
			return nil, fmt.Errorf("%w: an answer that failed", errFrame)
		}
		end := failureHead + int(b[9])
		list = append(list, topic.Answer{Verb: topic.Verb(b[0]), ID: protocol.MessageID(binary.BigEndian.Uint64(b[1:])), Err: errors.New(string(b[failureHead:end]))})
		b = b[end:]
	}
	return list, nil
}

// countMessages returns how many message frames there are, all of which must be whole and have an id.
func countMessages(b []byte) (n int, err error) {
	for len(b) > 0 {
		t, _, size, err := protocol.ParseFrame(b, peer.MaxFrame)
		switch {
		case err != nil:
			return n, fmt.Errorf("%w: messages: %w", errFrame, err)
		case t != protocol.FrameMessage:
			return n, fmt.Errorf("%w: messages: a frame of type %d", errFrame, t)
		}
		if _, ok := protocol.MessageFrame(b[:size]).ID(); !ok {
			return n, fmt.Errorf("%w: a message without an id", errFrame)
		}
		n++
		b = b[size:]
	}
	return n, nil
}

// number reads the one number of a frame.
func number(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("%w: a number of %d bytes", errFrame, len(b))
	}
	return binary.BigEndian.Uint32(b), nil
}
