package peer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Version is the version of the wire that is spoken; the one before it would be as well.
const Version = 1

// Lane is a connection between two nodes. The values are on the wire.
type Lane uint8

// The lanes.
const (
	Control Lane = iota // heartbeats, votes, answers
	Log                 // entries, in order
	Clients             // what nodes ask of each other for clients and operators
	Bulk                // what is large and can wait; no faster than Options.BulkRate
	Ask                 // one question and its answer, also of who is no member: see Node.Ask. No link is kept
	lanes
)

var laneNames = [lanes]string{"control", "log", "clients", "bulk", "ask"}

// String returns the lane's name.
func (l Lane) String() string {
	if l < lanes {
		return laneNames[l]
	}
	return "unknown"
}

// Hello is what a node says of itself.
type Hello struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster"` // the cluster's id; empty: the node is in none yet
	Folder  string `json:"folder"`  // id of its data folder: it is this node, wherever it is
	Starts  uint64 `json:"starts"`  // which start of the folder this is
	Nonce   uint64 `json:"nonce"`   // drawn for this start

	Past    []uint64 `json:"past,omitempty"` // nonces of the starts before, newest first
	Lineage uint64   `json:"lineage"`        // how often the folder was told that it is an old copy

	Name   string `json:"name"` // for people
	Lane   Lane   `json:"lane"`
	Random []byte `json:"random"` // 32 bytes, for this handshake

	Certificate *tls.ConnectionState `json:"-"` // what TLS knows of the peer; nil: there is no TLS
}

const (
	maxHello   = 8 << 10
	randomSize = 32
)

// ErrRefused is a peer that does not want this node, or is not wanted.
var ErrRefused = errors.New("refused")

// Refusal is an ErrRefused as the other node has said it. Who judges may return one, so that the other learns more
// than words.
type Refusal struct {
	Reason  string `json:"reason"`
	Old     bool   `json:"old,omitempty"`     // the folder is an old copy
	Removed bool   `json:"removed,omitempty"` // the node is no member of the cluster, whose map the other has
	Lineage uint64 `json:"lineage,omitempty"` // what was seen of it: the lineage of its next start must be higher

	received bool // it is about this node, not by it
}

func (r *Refusal) Error() string { return ErrRefused.Error() + " by the other node: " + r.Reason }

// Unwrap returns ErrRefused.
func (r *Refusal) Unwrap() error { return ErrRefused }

// parseHello checks what can be told of a Hello by itself.
func parseHello(b []byte) (h Hello, err error) {
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("%w: a hello that cannot be read: %w", ErrRefused, err)
	}
	switch {
	case h.Version != Version:
		return h, fmt.Errorf("%w: it speaks version %d of the wire, and this node version %d", ErrRefused, h.Version, Version)
	case h.Folder == "" || len(h.Random) != randomSize || h.Lane >= lanes:
		return h, fmt.Errorf("%w: a hello without a folder, a lane that is known, or %d random bytes", ErrRefused, randomSize)
	}
	return h, nil
}

// proof is what only who knows the secret can say of these two Hellos. Without a secret there is nothing to say.
func proof(secret []byte, side string, dialler, accepter []byte) []byte {
	if len(secret) == 0 {
		return nil
	}
	m := hmac.New(sha256.New, secret)
	for _, part := range [][]byte{[]byte(side), dialler, accepter} {
		fmt.Fprintf(m, "%d:", len(part))
		m.Write(part)
	}
	return m.Sum(nil)
}

const (
	sideDialler  = "dialled"
	sideAccepter = "accepted"
)

// answer is the accepter's: its Hello as it was sent, and its proof.
type answer struct {
	Hello json.RawMessage `json:"hello"`
	Proof []byte          `json:"proof,omitempty"`
}

// handshake makes sure of who is at the other end. own is this node's Hello, without random bytes; judge is asked
// about the other's, and has kept what it must keep when it returns nil. The connection has a deadline meanwhile.
func handshake(c net.Conn, dials bool, own Hello, secret []byte, judge func(Hello) error, within time.Duration) (Hello, error) {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return Hello{}, err
	}
	own.Version, own.Random = Version, make([]byte, randomSize)
	rand.Read(own.Random)
	mine, err := json.Marshal(own)
	if err != nil {
		return Hello{}, err
	}
	s := shaking{c: c, mine: mine, secret: secret, judge: judge}
	var other Hello
	if dials {
		other, err = s.dial(own.Lane)
	} else {
		other, err = s.accept()
	}
	if err != nil {
		return other, err
	}
	return other, c.SetDeadline(time.Time{})
}

// shaking is a handshake under way.
type shaking struct {
	c      net.Conn
	mine   []byte
	secret []byte
	judge  func(Hello) error
}

func (s *shaking) dial(lane Lane) (Hello, error) {
	if err := s.send(kindHello, s.mine); err != nil {
		return Hello{}, err
	}
	b, err := s.receive(kindHello)
	if err != nil {
		return Hello{}, s.unproven(err)
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		return Hello{}, s.refuse(fmt.Errorf("%w: an answer that cannot be read: %w", ErrRefused, err))
	}
	other, err := s.look(a.Hello)
	if err == nil && other.Lane != lane {
		err = fmt.Errorf("%w: it answers for lane %v", ErrRefused, other.Lane)
	}
	if err == nil && !hmac.Equal(a.Proof, proof(s.secret, sideAccepter, s.mine, a.Hello)) {
		err = fmt.Errorf("%w: the other node does not know the cluster's secret", ErrRefused)
	}
	if err == nil {
		err = s.judge(other)
	}
	if err != nil {
		return other, s.refuse(err)
	}
	if err := s.send(kindProof, proof(s.secret, sideDialler, s.mine, a.Hello)); err != nil {
		return other, err
	}
	_, err = s.receive(kindWelcome)
	return other, err
}

func (s *shaking) accept() (Hello, error) {
	theirs, err := s.receive(kindHello)
	if err != nil {
		return Hello{}, err
	}
	other, err := s.look(theirs)
	if err != nil {
		return other, s.refuse(err)
	}
	var own Hello
	if err := json.Unmarshal(s.mine, &own); err != nil {
		return other, err
	}
	own.Lane = other.Lane // the one who dials says which
	if s.mine, err = json.Marshal(own); err != nil {
		return other, err
	}
	b, err := json.Marshal(answer{s.mine, proof(s.secret, sideAccepter, theirs, s.mine)})
	if err != nil {
		return other, err
	}
	if err := s.send(kindHello, b); err != nil {
		return other, err
	}
	said, err := s.receive(kindProof)
	if err != nil {
		return other, s.unproven(err)
	}
	if !hmac.Equal(said, proof(s.secret, sideDialler, theirs, s.mine)) {
		err = fmt.Errorf("%w: it does not know the cluster's secret", ErrRefused)
	} else {
		err = s.judge(other)
	}
	if err != nil {
		return other, s.refuse(err)
	}
	return other, s.send(kindWelcome, nil)
}

// unproven takes off a refusal what only who has proven to know the secret may say.
func (s *shaking) unproven(err error) error {
	var r *Refusal
	if len(s.secret) > 0 && errors.As(err, &r) {
		r.Old, r.Removed = false, false
	}
	return err
}

// look parses a Hello, and notes what TLS knows.
func (s *shaking) look(b []byte) (Hello, error) {
	h, err := parseHello(b)
	if t, ok := s.c.(*tls.Conn); ok {
		state := t.ConnectionState()
		h.Certificate = &state
	}
	return h, err
}

func (s *shaking) send(kind Kind, payload []byte) error {
	_, err := s.c.Write(appendFrame(nil, kind, 0, payload))
	return err
}

// receive returns the payload of the frame that must come now, or the reason of a refusal.
func (s *shaking) receive(kind Kind) ([]byte, error) {
	f, err := readFrame(s.c, maxHello)
	switch {
	case err != nil:
		return nil, err
	case f.kind == kindRefusal:
		r := new(Refusal)
		if json.Unmarshal(f.payload, r) != nil {
			r.Reason = "a reason that cannot be read"
		}
		r.received = true
		return nil, r
	case f.kind != kind:
		return nil, fmt.Errorf("%w: a frame of kind %d in a handshake, in place of %d", ErrRefused, f.kind, kind)
	}
	return f.payload, nil
}

// refuse tells the other why, and returns it.
func (s *shaking) refuse(reason error) error {
	r := &Refusal{}
	if !errors.As(reason, &r) {
		r.Reason = reason.Error()
	}
	r.Reason = strings.ToValidUTF8(r.Reason[:min(len(r.Reason), 1000)], "?")
	b, err := json.Marshal(r)
	if err == nil {
		_ = s.send(kindRefusal, b) // it is over either way
	}
	return reason
}
