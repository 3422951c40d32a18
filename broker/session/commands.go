package session

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// maxAnswers is how many FIN, REQ and TOUCH are applied under one lock.
const maxAnswers = 512

// maxBatch is how many bytes of pipelined publishes are collected before they are appended.
const maxBatch = 96 << 10

// exec carries out one command, whose parameters are views of the input buffer. An error of type *protocol.Error is told to
// the client; every error ends the connection.
func (s *Session) exec(c *protocol.Command) error {
	if s.cfg.TLSRequired && c.Verb != protocol.Identify && !s.settings.tls {
		return protocol.Errorf(protocol.CodeInvalid, "cannot %s in current state (TLS required)", c.Name)
	}
	switch c.Verb {
	case protocol.Fin, protocol.Req, protocol.Touch:
		return s.answer(c)
	case protocol.Pub, protocol.Mpub:
		return s.publish(c)
	}
	err := s.settleCommands()
	s.wakes.pass()
	if err != nil {
		return err
	}
	switch c.Verb {
	case protocol.Rdy:
		return s.rdy(c)
	case protocol.Nop:
		return nil
	case protocol.Dpub:
		return s.dpub(c)
	case protocol.Identify:
		return s.aside(s.identify)
	case protocol.Sub:
		words := *c // c itself must not leave the stack, or every command would cost an allocation
		return s.aside(func() error { return s.subscribe(&words) })
	case protocol.Cls:
		return s.cls()
	case protocol.Auth:
		words := *c
		return s.aside(func() error { return s.authenticate(&words) })
	}
	return protocol.Errorf(protocol.CodeInvalid, "invalid command %s", c.Name)
}

// aside carries out a command of the beginning of a connection on a stack of its own: such commands need a large one, which the
// reader would keep for as long as the connection lasts.
func (s *Session) aside(command func() error) (err error) {
	var done sync.WaitGroup
	done.Go(func() { err = command() })
	done.Wait()
	return err
}

// subscribedOrClosing checks that the command is allowed.
func (s *Session) subscribedOrClosing(c *protocol.Command) error {
	if st := s.state.Load(); st != stateSubscribed && st != stateClosing {
		return protocol.Errorf(protocol.CodeInvalid, "cannot %s in current state", c.Verb)
	}
	return nil
}

// answer collects a FIN, REQ or TOUCH.
func (s *Session) answer(c *protocol.Command) error {
	if err := s.subscribedOrClosing(c); err != nil {
		return err
	}
	a, known, err := s.parseAnswer(c)
	if err == nil && s.owedOKs > 0 {
		err = s.publishBatch()
	}
	if err != nil {
		return err
	}
	if !known {
		err := s.settleCommands()
		s.wakes.pass()
		if err != nil {
			return err
		}
		return s.refuseAnswer(a.Verb, string(c.Params[0]), "ID not in flight")
	}
	s.answers = append(s.answers, a)
	if len(s.answers) >= maxAnswers {
		return s.applyAnswers()
	}
	return nil
}

// parseAnswer checks the form of an answer. known is false when its ID is none that a broker has given.
func (s *Session) parseAnswer(c *protocol.Command) (a topic.Answer, known bool, err error) {
	need := 1
	switch c.Verb {
	case protocol.Req:
		need, a.Verb = 2, topic.Requeue
	case protocol.Touch:
		a.Verb = topic.Touch
	default:
		a.Verb = topic.Finish
	}
	if c.Count < need {
		return a, false, protocol.Errorf(protocol.CodeInvalid, "%s insufficient number of params", c.Verb)
	}
	raw := c.Params[0]
	if len(raw) != protocol.MessageIDLength {
		return a, false, protocol.Errorf(protocol.CodeInvalid, "invalid message ID")
	}
	if c.Verb == protocol.Req {
		ms, ok := protocol.ParseNumber(c.Params[1])
		if !ok {
			return a, false, protocol.Errorf(protocol.CodeInvalid, "REQ could not parse timeout %s", c.Params[1])
		}
		a.Delay = clampDelay(ms, s.cfg.MaxReqTimeout)
	}
	a.ID, known = protocol.ParseMessageID(raw)
	return a, known, nil
}

func clampDelay(ms uint64, limit time.Duration) time.Duration {
	if ms > uint64(limit/time.Millisecond) {
		return limit
	}
	return time.Duration(ms) * time.Millisecond
}

func (s *Session) applyAnswers() error {
	s.wakes.pass()
	if sub := s.sub.Load(); sub != nil {
		sub.Apply(s.answers, &s.wakes.Wakes)
	} else {
		s.relay.Load().Apply(s.answers, &s.wakes.Wakes)
	}
	var err error
	for i := range s.answers {
		if a := &s.answers[i]; a.Err != nil && err == nil {
			s.wakes.pass()
			err = s.refuseAnswer(a.Verb, a.ID.String(), a.Err.Error())
		}
	}
	s.answers = s.answers[:0]
	return err
}

// refuseAnswer appends the error frame of an answer that failed. The connection goes on.
func (s *Session) refuseAnswer(verb topic.Verb, id, why string) error {
	refusal := refusalOf(verb, id, why)
	s.refuse(refusal, 1)
	return s.out.frame(protocol.FrameError, refusal.Error())
}

func refusalOf(verb topic.Verb, id, why string) *protocol.Error {
	name, code := protocol.Fin, protocol.CodeFinFailed
	switch verb {
	case topic.Requeue:
		name, code = protocol.Req, protocol.CodeReqFailed
	case topic.Touch:
		name, code = protocol.Touch, protocol.CodeTouchFailed
	}
	return protocol.Errorf(code, "%s %s failed %s", name, id, why)
}

func (s *Session) rdy(c *protocol.Command) error {
	st := s.state.Load()
	if st == stateClosing {
		return nil
	}
	if err := s.subscribedOrClosing(c); err != nil {
		return err
	}
	count := uint64(1)
	if c.Count > 0 {
		var ok bool
		if count, ok = protocol.ParseNumber(c.Params[0]); !ok {
			return protocol.Errorf(protocol.CodeInvalid, "RDY could not parse count %s", c.Params[0])
		}
	}
	if count > uint64(s.cfg.MaxRdyCount) {
		return protocol.Errorf(protocol.CodeInvalid, "RDY count %d out of range 0-%d", count, s.cfg.MaxRdyCount)
	}
	sub := s.consuming()
	sub.SetReady(int(count))
	if s.batching.delay > 0 && !sub.HasCredit() {
		return s.out.flush() // no more company is to come
	}
	return nil
}

func (s *Session) cls() error {
	if s.state.Load() != stateSubscribed {
		return protocol.Errorf(protocol.CodeInvalid, "cannot CLS in current state")
	}
	s.state.Store(stateClosing)
	s.consuming().SetReady(0)
	if err := s.out.frame(protocol.FrameResponse, protocol.CloseWait); err != nil {
		return err
	}
	return s.out.flush()
}

func (s *Session) subscribe(c *protocol.Command) error {
	if s.state.Load() != stateInit {
		return protocol.Errorf(protocol.CodeInvalid, "cannot SUB in current state")
	}
	if s.settings.heartbeat == 0 {
		return protocol.Errorf(protocol.CodeInvalid, "cannot SUB with heartbeats disabled")
	}
	if c.Count < 2 {
		return protocol.Errorf(protocol.CodeInvalid, "SUB insufficient number of parameters")
	}
	name, channel := string(c.Params[0]), string(c.Params[1])
	if !protocol.ValidName(name) {
		return protocol.Errorf(protocol.CodeBadTopic, "SUB topic name %q is not valid", name)
	}
	if !protocol.ValidName(channel) {
		return protocol.Errorf(protocol.CodeBadChannel, "SUB channel name %q is not valid", channel)
	}
	if err := s.authorize("SUB", name, channel); err != nil {
		return err
	}
	if err := s.join(name, channel); err != nil {
		return protocol.Errorf(protocol.CodeSubFailed, "SUB failed %s", oneLine(err)).Because(err)
	}
	if err := s.authorize("SUB", name, channel); err != nil { // grants that changed just now
		return err
	}
	s.state.Store(stateSubscribed)
	if err := s.out.frame(protocol.FrameResponse, protocol.OK); err != nil {
		return err
	}
	return s.out.flush()
}

// join subscribes, also to a topic that goes at that moment.
func (s *Session) join(name, channel string) error {
	o := topic.SubscribeOptions{Owner: s, Name: s.settings.clientID + " " + s.conn.RemoteAddr().String(), MsgTimeout: s.settings.msgTimeout,
		Standard: !s.settings.asksMsgTimeout, SampleRate: int(s.settings.sampleRate),
		Locality: s.settings.locality(s.cfg)}
	for {
		var t *topic.Topic
		err := s.informed(func() (err error) {
			t, err = s.cfg.Topics.Topic(name) // it may be asked who has it
			return err
		})
		if s.replicated(t, err) {
			if err = s.follow(name, channel, o); !errors.Is(err, topic.ErrNotReplicated) {
				return err
			}
			s.relay.Store(nil) // it is one of this broker alone, as is known now
			switch t, err = s.cfg.Topics.Topic(name); {
			case err == nil && t.Replicated():
				return fmt.Errorf("%w: it is being deleted", topic.ErrElsewhere)
			case err == nil:
				continue
			}
		}
		if err != nil {
			return err
		}
		sub, err := t.Subscribe(channel, o)
		if err == nil {
			s.sub.Store(sub)
		}
		gone := errors.Is(err, topic.ErrExiting) && s.cfg.Topics.Lookup(name) != t || errors.Is(err, topic.ErrYields) && s.cfg.Relays != nil
		if !gone {
			return err
		}
	}
}

func (s *Session) authenticate(c *protocol.Command) error {
	if s.state.Load() != stateInit {
		return protocol.Errorf(protocol.CodeInvalid, "cannot AUTH in current state")
	}
	if c.Count != 0 {
		return protocol.Errorf(protocol.CodeInvalid, "AUTH invalid number of parameters")
	}
	secret, err := s.readBody("AUTH")
	if err != nil {
		return err
	}
	return s.checkSecret(string(secret))
}

// dpub publishes one message that is deferred.
func (s *Session) dpub(c *protocol.Command) error {
	delay, said, err := s.deferral(c)
	if err != nil {
		return err
	}
	s.aim(c.Params[0]) // the line goes with the body that is read
	if err := s.readMessage("DPUB"); err != nil {
		return err
	}
	if err = s.mayPublish("DPUB"); err == nil {
		err = said.bad
	}
	if err != nil {
		s.batch.Reset()
		return err
	}
	if said.dedup != "" {
		s.batch.Deduplicate(s.begun, s.to.name, said.dedup, false)
	}
	if said.key != "" {
		s.batch.Order(s.begun, said.key)
	}
	s.batch.TTL, s.batch.Acks = said.ttl, said.acks
	if err = s.deliver(delay); err != nil {
		s.batch.Reset()
		code := protocol.CodeDpubFailed
		if topic.RefusesTTL(err) || errors.Is(err, topic.ErrAcks) {
			code = protocol.CodeBadMessage
		}
		return s.refusePublishes(1, protocol.Errorf(code, "DPUB failed %s", oneLine(err)).Because(err))
	}
	return s.out.frame(protocol.FrameResponse, protocol.OK)
}

// deferral reads the line of a DPUB.
func (s *Session) deferral(c *protocol.Command) (delay time.Duration, said terms, err error) {
	if c.Count < 2 {
		return 0, said, protocol.Errorf(protocol.CodeInvalid, "DPUB insufficient number of parameters")
	}
	if name := c.Params[0]; (s.to == nil || s.to.name != string(name)) && !protocol.ValidName(name) {
		return 0, said, protocol.Errorf(protocol.CodeBadTopic, "DPUB topic name %q is not valid", name)
	}
	number := c.Params[1]
	if c.Count > 2 && bytes.IndexByte(c.Rest, '=') >= 0 { // DPUB TOPIC NAME=VALUE ... TIME, as clients make of a topic with words
		if _, plain, _ := protocol.ParseWords(c.Rest); plain != nil {
			number = plain
		}
		said = parseTerms(c)
	}
	ms, ok := protocol.ParseNumber(number)
	if !ok {
		return 0, said, protocol.Errorf(protocol.CodeInvalid, "DPUB could not parse timeout %s", number)
	}
	if limit := uint64(s.cfg.MaxDefer.Milliseconds()); ms > limit {
		return 0, said, protocol.Errorf(protocol.CodeInvalid, "DPUB timeout %d out of range 0-%d", ms, limit)
	}
	return time.Duration(ms) * time.Millisecond, said, nil
}

// oneLine keeps an error's text on one line, as clients log it.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
