package httpd

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/bodies"
	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// pub publishes the body as one message.
func (a *api) pub(w http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	if req.ContentLength > a.cfg.MaxMsgSize {
		return nil, refuse(http.StatusRequestEntityTooLarge, "MSG_TOO_BIG")
	}
	s := a.scratch.Get().(*scratch)
	defer a.release(s)
	body, err := s.read(a.moving(w, req, s, a.cfg.MaxMsgSize), a.cfg.MaxMsgSize)
	switch {
	case err != nil:
		return nil, err // the client's; INTERNAL_ERROR as nsqd
	case int64(len(body)) > a.cfg.MaxMsgSize:
		return nil, refuse(http.StatusRequestEntityTooLarge, "MSG_TOO_BIG")
	case len(body) == 0:
		return nil, refuse(http.StatusBadRequest, "MSG_EMPTY")
	}
	q, t, err := a.topicToPublish(req)
	if err != nil {
		return nil, err
	}
	terms, err := a.terms(q, t.topic, &s.batch)
	if err != nil {
		return nil, err
	}
	s.batch.Add(body)
	if terms.dedup != "" {
		s.batch.Deduplicate(topic.Mark{}, t.name, terms.dedup, false)
	}
	s.batch.Order(topic.Mark{}, terms.key)
	return a.publish(w, req, t, &s.batch, terms)
}

// mpub publishes the body's messages, all or none: one a line, or in the form of MPUB.
func (a *api) mpub(w http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	if req.ContentLength > a.cfg.MaxBodySize {
		return nil, refuse(http.StatusRequestEntityTooLarge, "BODY_TOO_BIG")
	}
	q, t, err := a.topicToPublish(req)
	if err != nil {
		return nil, err
	}
	s := a.scratch.Get().(*scratch)
	defer a.release(s)
	terms, err := a.terms(q, t.topic, &s.batch)
	if err != nil {
		return nil, err
	}
	body := a.moving(w, req, s, a.cfg.MaxBodySize)
	if a.isBinary(q, req) {
		err = a.addBinary(s, body)
	} else {
		err = a.addLines(s, body)
	}
	if err != nil {
		return nil, err
	}
	if terms.dedup != "" {
		s.batch.Deduplicate(topic.Mark{}, t.name, terms.dedup, true)
	}
	s.batch.Order(topic.Mark{}, terms.key)
	return a.publish(w, req, t, &s.batch, terms)
}

func (a *api) release(s *scratch) {
	s.reset()
	a.scratch.Put(s)
}

// target is where messages are published to.
type target struct {
	name  string
	topic *topic.Topic // nil: it is replicated, and another broker leads it
}

// topicToPublish returns the arguments and the topic they name, which is made when there is none.
func (a *api) topicToPublish(req *http.Request) (q httpapi.Query, to target, err error) {
	q, to.name, err = topicArg(req)
	if err != nil {
		return q, to, err
	}
	if !protocol.ValidName(to.name) {
		return q, to, refuse(http.StatusBadRequest, "INVALID_TOPIC")
	}
	if to.topic, err = a.cfg.Broker.Registry().Topic(to.name); err != nil && !(a.cfg.Forward != nil && errors.Is(err, topic.ErrElsewhere)) {
		return q, to, a.notPublished(req, err)
	}
	if to.topic != nil && a.cfg.Forward != nil && to.topic.Yields() {
		to.topic = nil
	}
	return q, to, nil
}

// durability returns the argument durability, which the request's messages get when it is more than the topic's level; level
// memory, the least, when it is absent.
func durability(q httpapi.Query, t *topic.Topic) (topic.Level, error) {
	text, ok := q.Lookup("durability")
	if !ok {
		return topic.Memory, nil
	}
	level, err := topic.ParseLevel(text)
	switch {
	case err != nil:
		return level, refuse(http.StatusBadRequest, "INVALID_DURABILITY")
	case level > topic.Memory && t != nil && t.Durability() == topic.Memory:
		return level, httpapi.Errorf(http.StatusBadRequest, "durability %s is not to be had: %v", level, topic.ErrNoLog)
	}
	return level, nil
}

// timeToLive returns the argument ttl: how long the request's messages are of use, 0 when it is absent.
func timeToLive(q httpapi.Query, t *topic.Topic) (ttl time.Duration, err error) {
	text, ok := q.Lookup("ttl")
	if !ok {
		return 0, nil
	}
	ttl, err = topic.ParseTTL(text)
	if err == nil {
		err = topic.ErrLedTTL
		if t != nil {
			err = t.TakesTTL()
		}
	}
	if err != nil {
		return 0, invalidArg("ttl", err.Error())
	}
	return ttl, nil
}

// isBinary reads the argument binary: absent, "false" and "0" are text, and as in nsqd anything else is binary.
func (a *api) isBinary(q httpapi.Query, req *http.Request) bool {
	text, ok := q.Lookup("binary")
	switch {
	case !ok || text == "false" || text == "0":
		return false
	case text != "true" && text != "1":
		a.cfg.Log.Warn("http: deprecated value of binary, use true or 1", "value", text, "remote", req.RemoteAddr)
	}
	return true
}

// addLines fills the batch with the lines of the body.
func (a *api) addLines(s *scratch, body io.Reader) error {
	err := s.splitLines(body, a.cfg.MaxMsgSize, a.cfg.MaxBodySize, s.batch.Add)
	switch {
	case errors.Is(err, errLineTooLong):
		return refuse(http.StatusRequestEntityTooLarge, "MSG_TOO_BIG")
	case errors.Is(err, errTooMuch):
		return refuse(http.StatusRequestEntityTooLarge, "BODY_TOO_BIG")
	}
	return err
}

// addBinary fills the batch from a body in the form of MPUB. What is wrong in the bytes that came is told before that no more
// came.
func (a *api) addBinary(s *scratch, body io.Reader) error {
	bytes, readErr := s.read(body, a.cfg.MaxBodySize)
	if int64(len(bytes)) > a.cfg.MaxBodySize {
		return refuse(http.StatusRequestEntityTooLarge, "BODY_TOO_BIG")
	}
	if len(bytes) > bodies.Free { // the messages are copied, each with room for what consumers get before it
		count := int64(binary.BigEndian.Uint32(bytes))
		total := s.held() + int64(len(bytes)) + min(count, int64(len(bytes))/5)*protocol.MessageOverhead
		if err := s.share.Hold(total, total, func() error { return nil }); err != nil {
			return errBusy(err)
		}
	}
	limits := protocol.MpubLimits{MaxMsgSize: a.cfg.MaxMsgSize, MaxBodySize: a.cfg.MaxBodySize}
	err := protocol.WalkMpub(bytes, limits, func(message []byte) error {
		s.batch.Add(message)
		return nil
	})
	var wire *protocol.Error
	if errors.As(err, &wire) {
		return refuse(http.StatusRequestEntityTooLarge, strings.TrimPrefix(string(wire.Code), "E_"))
	}
	return errors.Join(err, readErr)
}

// publish hands the batch to the topic.
func (a *api) publish(w http.ResponseWriter, req *http.Request, to target, b *topic.Batch, m terms) (any, error) {
	if b.Len() > 0 {
		a.account(req).Spend(int64(b.Len()), int64(b.Bytes()), 0, time.Now())
		if err := a.carryOut(to, b, m); err != nil {
			return nil, a.notPublished(req, err)
		}
		return m.published(w, b), nil
	}
	if m.ids {
		return httpapi.Published{IDs: []string{}, Positions: []uint64{}}, nil
	}
	return "OK", nil
}

// carryOut publishes the batch, here or at the broker that leads the topic.
func (a *api) carryOut(to target, b *topic.Batch, m terms) (err error) {
	for {
		if err = a.tryOut(&to, b, m); !errors.Is(err, topic.ErrYields) {
			return err
		}
		to.topic = nil // there is a replicated one now
	}
}

func (a *api) tryOut(to *target, b *topic.Batch, m terms) (err error) {
	if a.cfg.Forward != nil && (to.topic == nil || to.topic.Replicated()) {
		b.Receipts = m.ids
		if m.level > topic.Memory && b.Acks == policy.AcksUnsaid { // it asks to wait, whatever the topic's option says
			b.Acks = policy.AcksAll
		}
		if err = a.cfg.Forward.Publish(to.name, b, m.delay); !errors.Is(err, topic.ErrNotReplicated) {
			return err
		}
		to.topic = nil
	}
	r := a.cfg.Broker.Registry()
	if to.topic != nil {
		err = to.topic.PublishAs(b, m.delay, m.level)
		if !errors.Is(err, topic.ErrExiting) || r.Lookup(to.name) == to.topic {
			return err
		}
	}
	if to.topic, err = r.Topic(to.name); err != nil { // it was deleted meanwhile
		return err
	}
	return to.topic.PublishAs(b, m.delay, m.level)
}

// limited returns the answer for what a bound of an option, or of the node, does not allow.
func limited(err error) error {
	return refuse(http.StatusTooManyRequests, "LIMIT_REACHED: "+err.Error())
}

// invalidArg returns the answer for an argument that cannot be, with why.
func invalidArg(name, why string) error {
	return refuse(http.StatusBadRequest, "INVALID_ARG_"+strings.ToUpper(name)+": "+why)
}

// notPublished returns the answer for a message that was not taken: 503 with what failed, so that who watches producers sees
// a full disk there; 429 where a bound is reached; DRAINING while the broker is emptied; EXITING, as nsqd says of everything, when the broker stops.
func (a *api) notPublished(req *http.Request, err error) error {
	if errors.Is(err, topic.ErrAcks) { // the option has changed meanwhile
		return invalidArg("acks", err.Error())
	}
	if errors.Is(err, topic.ErrKeyRequired) {
		return refuse(http.StatusBadRequest, "KEY_REQUIRED: "+err.Error())
	}
	if !topic.Refuses(err) {
		return refuse(http.StatusServiceUnavailable, "EXITING")
	}
	if errors.Is(err, topic.ErrDraining) {
		return refuse(http.StatusServiceUnavailable, "DRAINING: "+err.Error())
	}
	if topic.Limited(err) {
		return limited(err)
	}
	if err := ofReplicated(err); err != nil {
		return err
	}
	a.cfg.Log.Error("http: publish failed", "uri", httpapi.LoggedURI(req.URL), "error", err)
	return refuse(http.StatusServiceUnavailable, "publish failed: "+strings.ReplaceAll(err.Error(), "\n", "; "))
}
