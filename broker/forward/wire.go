package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Kinds of frames.
const (
	FirstKind peer.Kind = 40
	LastKind  peer.Kind = 47

	framePublish peer.Kind = 40
	frameAnswers peer.Kind = 41
	frameAct     peer.Kind = 42
	frameActed   peer.Kind = 43
)

// errWire is a frame that cannot be read.
var errWire = errors.New("a frame about publishes that cannot be read")

// place is where in the stream of an origin a publish, or an answer, is.
type place struct {
	origin uint64
	epoch  uint64
	seq    uint32
}

// request is a publish on its way. One with seq 0 is a probe, and has nothing but its place.
type request struct {
	place
	number, low uint64
	topic       uint32
	receipt     bool       // the answer is to say what the messages have become
	early       bool       // it is answered already: it must not be passed by those behind it
	acks        topic.Acks // with early: 0 when nothing behind it was begun anywhere before it was taken or refused
	delay       time.Duration
	due         int64 // Unix nanoseconds, 0: it is not said
	count       int
	frames      []byte
}

// What no node ever says: a count of publishes that a checkpoint could not hold, and a time that would be none when it is added to the clock.
const (
	mostNumber = math.MaxInt64
	mostDelay  = 100 * 365 * 24 * time.Hour
)

const (
	placeSize   = 8 + 8 + 4
	publishSize = placeSize + 8 + 8 + 4 + 1 + 8 + 8 + 4

	flagReceipt = 1 << 0
	flagsAcks   = 3 << acksShift // a topic.Acks
	flagEarly   = 1 << 3

	acksShift = 1
)

func appendPlace(dst []byte, p place) []byte {
	dst = binary.BigEndian.AppendUint64(dst, p.origin)
	dst = binary.BigEndian.AppendUint64(dst, p.epoch)
	return binary.BigEndian.AppendUint32(dst, p.seq)
}

func parsePlace(b []byte) place {
	return place{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])}
}

// appendHead appends all of a request but its message frames.
func (r *request) appendHead(dst []byte) []byte {
	dst = appendPlace(dst, r.place)
	if r.seq == 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint64(dst, r.number)
	dst = binary.BigEndian.AppendUint64(dst, r.low)
	dst = binary.BigEndian.AppendUint32(dst, r.topic)
	flags := byte(r.acks) << acksShift
	if r.receipt {
		flags |= flagReceipt
	}
	if r.early {
		flags |= flagEarly
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.delay))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.due))
	return binary.BigEndian.AppendUint32(dst, uint32(r.count))
}

// parseRequest reads one; its message frames, which are a view, are not looked at.
func parseRequest(b []byte) (r request, err error) {
	if len(b) < placeSize {
		return r, fmt.Errorf("%w: %d bytes", errWire, len(b))
	}
	r.place = parsePlace(b)
	switch {
	case r.origin == 0 || r.epoch == 0:
		return r, fmt.Errorf("%w: epoch %d of origin %x", errWire, r.epoch, r.origin)
	case r.seq == 0 && len(b) == placeSize:
		return r, nil
	case r.seq == 0 || len(b) <= publishSize:
		return r, fmt.Errorf("%w: publish of %d bytes", errWire, len(b))
	}
	r.frames = b[publishSize:]
	b = b[placeSize:]
	r.number, r.low, r.topic = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])
	flags := b[20]
	r.receipt, r.early, r.acks = flags&flagReceipt != 0, flags&flagEarly != 0, topic.Acks(flags&flagsAcks>>acksShift)
	r.delay, r.due = time.Duration(binary.BigEndian.Uint64(b[21:])), int64(binary.BigEndian.Uint64(b[29:]))
	r.count = int(binary.BigEndian.Uint32(b[37:]))
	if flags&^(flagReceipt|flagsAcks|flagEarly) != 0 || r.number == 0 || r.number > mostNumber || r.low > r.number || r.delay < 0 || r.delay > mostDelay || r.due < 0 {
		return r, fmt.Errorf("%w: publish %d, flags %#x", errWire, r.number, flags)
	}
	return r, nil
}

// from returns whose publish it is, and which.
func (r *request) from() journal.Origin {
	return journal.Origin{ID: r.origin, Number: r.number, Low: r.low}
}

// code is what an answer says. The values are on the wire.
type code uint8

const (
	codeTaken   code = 0 // this publish is committed, and all of the epoch before it whose answers did not come
	codeReceipt code = 1 // the same of this one, and what its messages have become
	codeRefused code = 2 // it was not taken: a class, u8, and a text
	codeNoTopic code = 3 // the leader serves no such topic
	codeAgain   code = 4 // the epoch is over: this node does not lead, or something was lost. Data is the folder of who leads, or nothing
	codeReady   code = 5 // to a probe: this node leads
	codeKept    code = 6 // this publish may be answered, and is not known to be committed; another answer follows
)

// answer is one.
type answer struct {
	seq  uint32
	code code
	data []byte
}

const answerHead = 4 + 1 + 4

func appendAnswer(dst []byte, a answer) []byte {
	dst = binary.BigEndian.AppendUint32(dst, a.seq)
	dst = append(dst, byte(a.code))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(a.data)))
	return append(dst, a.data...)
}

// parseAnswers reads a frame of answers.
func parseAnswers(b []byte) (origin, epoch uint64, list []answer, err error) {
	if len(b) < 16 {
		return 0, 0, nil, fmt.Errorf("%w: answers, %d bytes", errWire, len(b))
	}
	origin, epoch = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	for b = b[16:]; len(b) > 0; {
		if len(b) < answerHead || uint64(binary.BigEndian.Uint32(b[5:])) > uint64(len(b)-answerHead) {
			return 0, 0, nil, fmt.Errorf("%w: an answer is cut", errWire)
		}
		n := answerHead + int(binary.BigEndian.Uint32(b[5:]))
		list = append(list, answer{seq: binary.BigEndian.Uint32(b), code: code(b[4]), data: b[answerHead:n]})
		b = b[n:]
	}
	return origin, epoch, list, nil
}

// appendReceipt appends what the messages of a publish have become.
func appendReceipt(dst []byte, r topic.Receipt) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.ID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Position))
	return binary.BigEndian.AppendUint32(dst, uint32(r.Count))
}

func parseReceipt(b []byte) (r topic.Receipt, err error) {
	if len(b) != 20 {
		return r, fmt.Errorf("%w: receipt of %d bytes", errWire, len(b))
	}
	return topic.Receipt{ID: protocol.MessageID(binary.BigEndian.Uint64(b)), Position: topic.Position(binary.BigEndian.Uint64(b[8:])),
		Count: int(binary.BigEndian.Uint32(b[16:]))}, nil
}

// classes are what kinds of refusals there are, by the numbers on the wire. Others are 0.
var classes = []error{1: topic.ErrReplicated, 2: topic.ErrNoSpace, 3: topic.ErrAcks}

// refusal is an error that the leader has had.
type refusal struct {
	is   error // nil: of no class
	text string
}

func (r *refusal) Error() string { return r.text }

// Unwrap returns of which class it is.
func (r *refusal) Unwrap() error { return r.is }

func appendRefusal(dst []byte, err error) []byte {
	class := byte(0)
	for i, is := range classes {
		if is != nil && errors.Is(err, is) {
			class = byte(i)
		}
	}
	return append(append(dst, class), err.Error()...)
}

func parseRefusal(b []byte) error {
	if len(b) == 0 {
		return &refusal{text: "the broker that leads the topic has refused it"}
	}
	r := &refusal{text: string(b[1:])}
	if int(b[0]) < len(classes) {
		r.is = classes[b[0]]
	}
	return r
}
