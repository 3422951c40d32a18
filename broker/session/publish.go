package session

import (
	"errors"
	"sync/atomic"
	"time"

	"brokerd/broker/auth"
	"brokerd/broker/topic"
	"brokerd/protocol"
)

// publish reads a PUB or MPUB into the batch. Those of one kind and to one topic that are in the input buffer already are
// appended together, and fail together.
func (s *Session) publish(c *protocol.Command) error {
	if c.Count < 1 {
		return protocol.Errorf(protocol.CodeInvalid, "%s insufficient number of parameters", c.Verb)
	}
	name := c.Params[0]
	var said terms
	if c.Count > 1 {
		said = parseTerms(c)
	}
	same := s.to != nil && s.to.name == string(name)
	if !same && !protocol.ValidName(name) {
		if c.Verb == protocol.Mpub {
			return protocol.Errorf(protocol.CodeBadTopic, "E_BAD_TOPIC MPUB topic name %q is not valid", name)
		}
		return protocol.Errorf(protocol.CodeBadTopic, "PUB topic name %q is not valid", name)
	}
	if len(s.answers) > 0 {
		if err := s.applyAnswers(); err != nil {
			return err
		}
	}
	if s.owedOKs > 0 && (s.batchVerb != c.Verb || !same || s.batch.TTL != said.ttl || s.batch.Acks != said.acks) {
		if err := s.publishBatch(); err != nil {
			return err
		}
	}
	s.aim(name)
	s.batchVerb = c.Verb
	if err := s.readPublish(c.Verb); err != nil {
		return err
	}
	if taken, err := s.heed(&said, c.Verb); !taken {
		return err
	}
	s.owedOKs++
	if s.batch.Size() >= maxBatch || c.Verb == protocol.Mpub && s.to.topic != nil && s.to.topic.Bounded() {
		return s.publishBatch() // of several MPUBs each is taken or refused for itself
	}
	return nil
}

// heed does to what was read last what the words behind the topic's name say. It reports false when that is refused, and was answered, or err says why.
func (s *Session) heed(said *terms, verb protocol.Verb) (taken bool, err error) {
	if said.bad != nil {
		s.batch.Rollback(s.begun)
		return false, said.bad
	}
	if said.dedup != "" || said.key != "" {
		if err := s.unkeyed(); err != nil {
			return false, s.refuseOne(verb, err)
		}
	}
	if said.dedup != "" {
		s.batch.Deduplicate(s.begun, s.to.name, said.dedup, verb == protocol.Mpub)
	}
	if said.key != "" {
		s.batch.Order(s.begun, said.key)
	} else if err := s.requiredKeys(); err != nil {
		return false, s.refuseOne(verb, err)
	}
	s.batch.TTL, s.batch.Acks = said.ttl, said.acks
	return true, nil
}

// terms are what the words behind a topic say.
type terms struct {
	ttl   time.Duration
	acks  topic.Acks
	dedup string
	key   string
	bad   error // to be told once the body was read
}

func parseTerms(c *protocol.Command) (t terms) {
	words, _, err := protocol.ParseWords(c.Rest)
	if err == nil && words.TTL != "" {
		t.ttl, err = topic.ParseTTL(words.TTL)
	}
	if err == nil && words.Acks != "" {
		t.acks, err = topic.ParseAcks(words.Acks)
	}
	if err != nil {
		return terms{bad: protocol.Errorf(protocol.CodeBadMessage, "%s %s", c.Verb, err)}
	}
	t.dedup, t.key = words.Dedup, words.Key
	return t
}

// requiredKeys returns why the messages of the publish that was read last are refused, as they have no keys, nil when they are not: each
// publish is refused for itself.
func (s *Session) requiredKeys() error {
	if s.to.topic == nil {
		if s.find() != nil {
			return nil // that is tried again, and answered
		}
	}
	if !s.to.topic.RequiresKeys() {
		return nil
	}
	return s.to.topic.TakeKeys(&s.batch, s.begun)
}

// unkeyed returns why a publish with keys is refused, as the topic is replicated; nil when it is not.
func (s *Session) unkeyed() error {
	err := s.find()
	if s.forwards(err) {
		return topic.ErrLedKeys
	}
	return nil // what else is wrong is found again, and answered
}

// refuseOne answers a publish that was read, and cannot be taken, behind those before it.
func (s *Session) refuseOne(verb protocol.Verb, why error) error {
	s.batch.Rollback(s.begun)
	if s.owedOKs > 0 {
		if err := s.publishBatch(); err != nil {
			return err
		}
	}
	code := protocol.CodePubFailed
	if verb == protocol.Mpub {
		code = protocol.CodeMpubFailed
	}
	return s.refusePublishes(1, protocol.Errorf(code, "%s failed %s", verb, why).Because(why))
}

func (s *Session) readPublish(verb protocol.Verb) error {
	if verb == protocol.Mpub {
		return s.readMpub()
	}
	s.begun = s.batch.Mark()
	err := s.readMessage("PUB")
	if err == nil && s.cfg.Auth != nil {
		err = s.mayPublish("PUB")
	}
	if err != nil {
		s.batch.Rollback(s.begun)
	}
	return err
}

// beginBody prepares for a body of n bytes. Publishes before it do not wait for it when it has not arrived yet.
func (s *Session) beginBody(n int) error {
	if s.owedOKs > 0 && s.in.w-s.in.r < n {
		if err := s.publishBatch(); err != nil {
			return err
		}
	}
	s.begun = s.batch.Mark()
	s.beginArrival(n, 1)
	return nil
}

// readMessage reads the body of PUB or DPUB.
func (s *Session) readMessage(command string) error {
	n, err := s.in.size()
	if err != nil {
		return protocol.Errorf(protocol.CodeBadMessage, "%s failed to read message body size", command).Because(err)
	}
	if n <= 0 {
		return protocol.Errorf(protocol.CodeBadMessage, "%s invalid message body size %d", command, n)
	}
	if int64(n) > s.cfg.MaxMsgSize {
		return protocol.Errorf(protocol.CodeBadMessage, "%s message too big %d > %d", command, n, s.cfg.MaxMsgSize)
	}
	if err := s.beginBody(int(n)); err != nil {
		return err
	}
	defer s.endArrival()
	if err := s.addBody(int(n)); err != nil {
		return protocol.Errorf(protocol.CodeBadMessage, "%s failed to read message body", command).Because(err)
	}
	return nil
}

// addBody reads a message of n bytes into the batch.
func (s *Session) addBody(n int) error {
	if body := s.in.take(n); body != nil {
		s.batch.Add(body)
		return nil
	}
	s.batch.Begin(n)
	return s.in.message(n, &s.batch)
}

// readMpub reads the body of MPUB. The topic is made first, as in NSQ; the declared size of the whole is only checked against
// its limit, the parts say where the command ends.
func (s *Session) readMpub() error {
	if err := s.mayPublish("MPUB"); err != nil {
		return err
	}
	if err := s.find(); err != nil && !topic.Refuses(err) { // that is tried again, and answered, once the body is read
		return protocol.Errorf(protocol.CodeMpubFailed, "MPUB failed %s", oneLine(err)).Because(err)
	}
	size, err := s.in.size()
	if err != nil {
		return protocol.Errorf(protocol.CodeBadBody, "MPUB failed to read body size").Because(err)
	}
	if size <= 0 {
		return protocol.Errorf(protocol.CodeBadBody, "MPUB invalid body size %d", size)
	}
	if int64(size) > s.cfg.MaxBodySize {
		return protocol.Errorf(protocol.CodeBadBody, "MPUB body too big %d > %d", size, s.cfg.MaxBodySize)
	}
	if err := s.beginBody(int(size)); err != nil {
		return err
	}
	defer s.endArrival()
	if err := s.readMessages(int(size)); err != nil {
		s.batch.Rollback(s.begun)
		return err
	}
	return nil
}

// readMessages reads the count and the messages of an MPUB whose declared size is given. That the parts add up to it is not demanded, as
// in NSQ, but together they keep to its limit.
func (s *Session) readMessages(size int) error {
	count, err := s.in.size()
	if err != nil {
		return protocol.Errorf(protocol.CodeBadBody, "MPUB failed to read message count").Because(err)
	}
	limits := protocol.MpubLimits{MaxMsgSize: s.cfg.MaxMsgSize, MaxBodySize: s.cfg.MaxBodySize}
	if err := limits.CheckCount(count); err != nil {
		return err
	}
	s.beginArrival(size, int(count))
	left := s.cfg.MaxBodySize
	for i := range int(count) {
		n, err := s.in.size()
		if err != nil {
			return protocol.Errorf(protocol.CodeBadMessage, "MPUB failed to read message(%d) body size", i).Because(err)
		}
		if err := limits.CheckSize(i, n); err != nil {
			return err
		}
		if left -= int64(n); left < 0 {
			return protocol.Errorf(protocol.CodeBadBody, "MPUB body too big: its messages have over %d bytes", s.cfg.MaxBodySize)
		}
		if err := s.addBody(int(n)); err != nil {
			return protocol.Errorf(protocol.CodeBadMessage, "MPUB failed to read message body").Because(err)
		}
	}
	return nil
}

// publishBatch appends what was collected and answers it.
func (s *Session) publishBatch() error {
	owed := s.owedOKs
	s.owedOKs = 0
	s.wakes.pass()
	err := s.deliverBatch()
	if err != nil && s.batchVerb == protocol.Pub {
		taken := s.publishSome(err, owed)
		if err := s.out.oks(taken); err != nil {
			return err
		}
		owed -= taken
	}
	if s.wakes.Any() && (err != nil || !s.out.room(owed)) {
		s.wakes.pass()
	}
	if err == nil {
		return s.out.oks(owed)
	}
	s.batch.Reset()
	code := protocol.CodePubFailed
	switch {
	case topic.RefusesTTL(err), errors.Is(err, topic.ErrAcks):
		code = protocol.CodeBadMessage
	case s.batchVerb == protocol.Mpub:
		code = protocol.CodeMpubFailed
	}
	return s.refusePublishes(owed, protocol.Errorf(code, "%s failed %s", s.batchVerb, oneLine(err)).Because(err))
}

// publishSome publishes as many of the collected PUBs, the first ones, as a bound has room for that has refused them all, and returns how
// many.
func (s *Session) publishSome(why error, collected int) (taken int) {
	var bound *topic.BoundError
	if !errors.As(why, &bound) {
		return 0
	}
	for taken = bound.Room; taken > 0 && taken < collected; taken = bound.Room {
		s.batch.Keep(taken)
		again := s.deliverBatch()
		if again == nil {
			return taken
		}
		if !errors.As(again, &bound) || bound.Room >= taken {
			break
		}
	}
	return 0
}

func (s *Session) deliverBatch() error {
	s.batch.Later = &s.wakes.Wakes
	return s.deliver(0)
}

// refusePublishes answers publishes that the disk did not take, each with an error of its own, and lets the connection go on:
// the next may succeed, and a producer that had to connect again would only add to the trouble. With any other cause why is
// returned, which ends the connection.
func (s *Session) refusePublishes(owed int, why *protocol.Error) error {
	if !topic.Refuses(why.Cause) {
		return why
	}
	s.refuse(why, owed)
	text := why.Error()
	for range owed {
		if err := s.out.frame(protocol.FrameError, text); err != nil {
			return err
		}
	}
	return nil
}

// target is a topic that the client publishes to.
type target struct {
	name  string
	by    *auth.State   // under which publishing to it was last allowed
	topic *topic.Topic  // nil unless it was published to last, and has been found
	sent  atomic.Uint64 // messages published
}

// aim makes the topic of that name, which is valid, the one that is published to.
func (s *Session) aim(name []byte) {
	if s.to != nil && s.to.name == string(name) {
		return
	}
	if s.to != nil {
		s.to.topic = nil // one that is deleted is not to be kept
	}
	if s.to = s.pubs[string(name)]; s.to == nil {
		s.to = &target{name: string(name)}
	}
}

// find sees to it that the topic is there: it is made when there is none.
func (s *Session) find() error {
	if t := s.to.topic; t != nil && !t.Exiting() {
		return nil
	}
	return s.informed(func() (err error) {
		s.to.topic, err = s.cfg.Topics.Topic(s.to.name) // it may be asked who has it
		return err
	})
}

// deliver publishes the batch to the topic, deferred when delay is above 0, and counts it.
func (s *Session) deliver(delay time.Duration) error {
	n := uint64(s.batch.Len())
	s.spent.publishes += int64(n)
	s.spent.bytes += int64(s.batch.Bytes())
	if err := s.carryOut(delay); err != nil {
		return err
	}
	if s.to.sent.Add(n) == n {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pubs == nil {
			s.pubs = map[string]*target{}
		}
		s.pubs[s.to.name] = s.to
	}
	return nil
}

// forwards reports whether publishes go to a replicated topic; err is what find has come to.
func (s *Session) forwards(err error) bool {
	return s.cfg.Forward != nil && (err == nil && (s.to.topic.Replicated() || s.to.topic.Yields()) || errors.Is(err, topic.ErrElsewhere))
}

// carryOut publishes the batch to the topic, here or at the broker that leads it.
func (s *Session) carryOut(delay time.Duration) error {
	for {
		err := s.find()
		if s.forwards(err) {
			err = s.informed(func() error { return s.cfg.Forward.Publish(s.to.name, &s.batch, delay) })
			if !errors.Is(err, topic.ErrNotReplicated) {
				return err
			}
			s.to.topic = nil
			err = s.find()
		}
		if err != nil {
			return err
		}
		t := s.to.topic
		err = t.PublishDeferred(&s.batch, delay)
		if errors.Is(err, topic.ErrExiting) && s.cfg.Topics.Lookup(s.to.name) != t || errors.Is(err, topic.ErrYields) && s.cfg.Forward != nil {
			continue // it was deleted meanwhile, and is made anew; or a replicated one has come
		}
		return err
	}
}
