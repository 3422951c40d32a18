package session

import (
	"errors"

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
	if !protocol.ValidName(name) {
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
	if s.owedOKs > 0 && (s.batchVerb != c.Verb || string(s.batchTo) != string(name)) {
		if err := s.publishBatch(); err != nil {
			return err
		}
	}
	s.batchTo, s.batchVerb = append(s.batchTo[:0], name...), c.Verb
	if err := s.readPublish(c.Verb); err != nil {
		return err
	}
	s.owedOKs++
	if s.batch.Size() >= maxBatch {
		return s.publishBatch()
	}
	return nil
}

func (s *Session) readPublish(verb protocol.Verb) error {
	if verb == protocol.Mpub {
		return s.readMpub()
	}
	mark := s.batch.Mark()
	err := s.readMessage("PUB")
	if err == nil && s.cfg.Auth != nil {
		err = s.authorize("PUB", string(s.batchTo), "")
	}
	if err != nil {
		s.batch.Rollback(mark)
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
	s.reading = true
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
	defer func() { s.reading = false }()
	s.batch.Begin(int(n))
	if err := s.in.body(int(n), s.batch.Extend); err != nil {
		return protocol.Errorf(protocol.CodeBadMessage, "%s failed to read message body", command).Because(err)
	}
	return nil
}

// readMpub reads the body of MPUB. The topic is made first, as in NSQ; the declared size of the whole is only checked against
// its limit, the parts say where the command ends.
func (s *Session) readMpub() error {
	name := string(s.batchTo)
	if err := s.authorize("MPUB", name, ""); err != nil {
		return err
	}
	if _, err := s.cfg.Topics.Topic(name); err != nil && !topic.Refuses(err) { // that is tried again, and answered, once the body is read
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
	defer func() { s.reading = false }()
	mark := s.batch.Mark()
	if err := s.readMessages(); err != nil {
		s.batch.Rollback(mark)
		return err
	}
	return nil
}

// readMessages reads the count and the messages of an MPUB.
func (s *Session) readMessages() error {
	count, err := s.in.size()
	if err != nil {
		return protocol.Errorf(protocol.CodeBadBody, "MPUB failed to read message count").Because(err)
	}
	limits := protocol.MpubLimits{MaxMsgSize: s.cfg.MaxMsgSize, MaxBodySize: s.cfg.MaxBodySize}
	if err := limits.CheckCount(count); err != nil {
		return err
	}
	for i := range int(count) {
		n, err := s.in.size()
		if err != nil {
			return protocol.Errorf(protocol.CodeBadMessage, "MPUB failed to read message(%d) body size", i).Because(err)
		}
		if err := limits.CheckSize(i, n); err != nil {
			return err
		}
		s.batch.Begin(int(n))
		if err := s.in.body(int(n), s.batch.Extend); err != nil {
			return protocol.Errorf(protocol.CodeBadMessage, "MPUB failed to read message body").Because(err)
		}
	}
	return nil
}

// publishBatch appends what was collected and answers it.
func (s *Session) publishBatch() error {
	owed := s.owedOKs
	s.owedOKs = 0
	err := s.deliverTo(string(s.batchTo), func(t *topic.Topic) error { return t.Publish(&s.batch) })
	if err == nil {
		return s.out.oks(owed)
	}
	s.batch.Reset()
	code := protocol.CodePubFailed
	if s.batchVerb == protocol.Mpub {
		code = protocol.CodeMpubFailed
	}
	return s.refusePublishes(owed, protocol.Errorf(code, "%s failed %s", s.batchVerb, oneLine(err)).Because(err))
}

// refusePublishes answers publishes that the disk did not take, each with an error of its own, and lets the connection go on:
// the next may succeed, and a producer that had to connect again would only add to the trouble. With any other cause why is
// returned, which ends the connection.
func (s *Session) refusePublishes(owed int, why *protocol.Error) error {
	if !topic.Refuses(why.Cause) {
		return why
	}
	text := why.Error()
	for range owed {
		if err := s.out.frame(protocol.FrameError, text); err != nil {
			return err
		}
	}
	return nil
}

// deliverTo publishes the batch to the topic of that name, which is made when there is none, and counts it.
func (s *Session) deliverTo(name string, publish func(*topic.Topic) error) error {
	n := uint64(s.batch.Len())
	for {
		t, err := s.cfg.Topics.Topic(name)
		if err != nil {
			return err
		}
		err = publish(t)
		if errors.Is(err, topic.ErrExiting) && s.cfg.Topics.Lookup(name) != t {
			continue // it was deleted meanwhile, and is made anew
		}
		if err != nil {
			return err
		}
		break
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pubs == nil {
		s.pubs = map[string]uint64{}
	}
	s.pubs[name] += n
	return nil
}
