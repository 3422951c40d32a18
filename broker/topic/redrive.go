package topic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"brokerd/broker/channel"
	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Errors of a redrive.
var (
	ErrRedriving    = errors.New("the channel's dead letters are being sent back already")
	ErrNotRedriving = errors.New("no dead letters are being sent back to the channel")
	ErrNoLetters    = errors.New("the channel has no dead letter topic")
)

// RedriveOptions say which dead letters go back, and how fast.
type RedriveOptions struct {
	From  string // the dead letter topic; empty: what the channel's options say
	Limit int    // messages; 0: all
	Rate  int    // messages a second; 0: as fast as it goes
}

// Redrive is dead letters on their way back to the channel that they came from, as it is at one moment.
type Redrive struct {
	From     string // the dead letter topic
	Began    time.Time
	Ended    time.Time // zero while it goes on
	Limit    int       // messages; 0: all
	Rate     int       // messages a second; 0: no limit
	Moved    int       // messages that went back
	InFlight int       // that stay, as consumers of the dead letter topic have them
	Stopped  bool      // by somebody
	Error    string    // why it has ended, or why it waits; empty: nothing is wrong
}

// redrive is one that runs, or the last one.
type redrive struct {
	stop  context.CancelFunc
	large int // messages that stay, as they are larger than max_bytes; its goroutine's
	Redrive
}

// Redrive begins to send the dead letters of a channel back to it: each once, with attempts from 1, off the dead letter topic and all channels
// of it where it waits. What consumers have there stays. It goes on in the background, and ends by itself once all that are there now were
// looked at. With the broker it ends as one that was stopped: the log keeps that it ran, so that this is shown afterwards. When none have come yet it has ended at once. It fails with ErrChannelNotFound, ErrNoLetters, ErrRedriving, ErrExiting.
func (t *Topic) Redrive(channel string, o RedriveOptions) (Redrive, error) {
	c := t.LookupChannel(channel)
	switch {
	case c == nil:
		return Redrive{}, fmt.Errorf("%w: %q", ErrChannelNotFound, channel)
	case t.led != nil:
		return Redrive{}, fmt.Errorf("%w: dead letters", ErrReplicated)
	case t.d == nil || c.ephemeral:
		return Redrive{}, fmt.Errorf("%w: it is not kept in the log", ErrNoLetters)
	}
	named := o.From != ""
	if !named {
		o.From = c.lettersGoTo()
	}
	if from := t.registry.Lookup(o.From); from == nil || from.d == nil || !from.IsDeadLetterTopic() || from == t {
		if now := time.Now(); !named { // none have come yet
			return Redrive{From: o.From, Began: now, Ended: now, Limit: o.Limit, Rate: o.Rate}, nil
		}
		return Redrive{}, fmt.Errorf("%w: no dead letters have come to %q", ErrNoLetters, o.From)
	}
	if err := t.registry.need(journal.FeatureOptions); err != nil { // the log keeps among them that it runs
		return Redrive{}, err
	}
	ctx, stop := context.WithCancel(t.registry.ctx)
	r := &redrive{stop: stop, Redrive: Redrive{From: o.From, Began: time.Now(), Limit: o.Limit, Rate: o.Rate}}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.redrive != nil && c.redrive.Ended.IsZero() {
		stop()
		return c.redrive.Redrive, ErrRedriving
	}
	if !t.registry.spawn(func() { c.sendBack(ctx, r) }) {
		stop()
		return Redrive{}, ErrExiting
	}
	c.redrive = r
	return r.Redrive, nil
}

// StopRedrive ends one that goes on. It fails with ErrChannelNotFound or ErrNotRedriving.
func (t *Topic) StopRedrive(channel string) (Redrive, error) {
	c := t.LookupChannel(channel)
	if c == nil {
		return Redrive{}, fmt.Errorf("%w: %q", ErrChannelNotFound, channel)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.redrive == nil || !c.redrive.Ended.IsZero() {
		return Redrive{}, ErrNotRedriving
	}
	c.redrive.Stopped = true
	c.redrive.stop()
	return c.redrive.Redrive, nil
}

// lettersGoTo returns the name of the channel's dead letter topic: also when it has no limit of deliveries now, or discards.
func (c *Channel) lettersGoTo() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.machine.Policy(); p != nil && p.DeadLetter != "" {
		return p.DeadLetter
	}
	return policy.DeadLetterTopic(c.topic.name, c.name)
}

// letter is a dead letter that may go back.
type letter struct {
	pos    Position
	body   []byte
	beside []byte
	sum    uint32 // of its key
}

// Parts of a redrive: one is moved by one record.
const (
	redriveAtOnce = 256
	redriveParts  = 10 // a second, when the rate is bounded
	redriveAgain  = time.Second
	redriveTries  = 60 // in a row that are in vain, before it gives up
)

// sendBack is a redrive's goroutine.
func (c *Channel) sendBack(ctx context.Context, r *redrive) {
	defer r.stop()
	c.keepOptions()
	err := c.sendBackAll(ctx, r)
	c.mu.Lock()
	r.Ended, r.Error = time.Now(), ""
	switch cut := c.topic.registry.ctx.Err() != nil && !r.Stopped; {
	case cut && err != nil:
		r.Redrive.cut()
	case err != nil && !errors.Is(err, context.Canceled):
		r.Error = err.Error()
	}
	result := r.Redrive
	c.mu.Unlock()
	c.keepOptions()
	c.topic.registry.log.Info("dead letters were sent back", "topic", c.topic.name, "channel", c.name, "from", result.From, "moved", result.Moved,
		"stay in flight", result.InFlight, "stopped", result.Stopped, "error", result.Error)
}

func (c *Channel) sendBackAll(ctx context.Context, r *redrive) error {
	reg := c.topic.registry
	from := reg.Lookup(r.From)
	if from == nil || from.d == nil {
		return ErrTopicNotFound
	}
	until := from.d.shown() + 1 // what fails again and comes back is left
	at, failed := Position(1), 0
	for ctx.Err() == nil {
		n := r.part()
		if n == 0 {
			return r.tooLarge()
		}
		moved, next, err := c.sendBackPart(from, at, until, n, r)
		if errors.Is(err, ErrExiting) || errors.Is(err, ErrChannelNotFound) {
			return err
		}
		if err != nil {
			if failed++; failed == redriveTries {
				return err
			}
			c.note(r, err)
			wait(ctx, redriveAgain)
			continue
		}
		failed = 0
		c.note(r, nil)
		if moved > 0 {
			c.keepOptions()
		}
		if next == 0 {
			return r.tooLarge()
		}
		at = next
		if r.Rate > 0 && moved > 0 {
			wait(ctx, time.Duration(moved)*time.Second/time.Duration(r.Rate))
		}
	}
	return ctx.Err()
}

// part returns how many messages the next record moves, at most; 0: the limit is reached.
func (r *redrive) part() int {
	n := redriveAtOnce
	if r.Rate > 0 {
		n = min(n, max(1, r.Rate/redriveParts))
	}
	if r.Limit > 0 {
		n = min(n, r.Limit-r.Moved)
	}
	return n
}

// sendBackPart moves dead letters from a position on and before until, at most limit, and no more than bounds have room for. It returns how
// many went, and where to go on; next is 0 when there are no more.
func (c *Channel) sendBackPart(from *Topic, at, until Position, limit int, r *redrive) (moved int, next Position, err error) {
	list, next, err := c.letters(from, at, until, limit)
	if err == nil {
		list = r.fitting(list, min(c.topic.Policy().LargestBody(), c.Policy().LargestBody()))
	}
	if err != nil || len(list) == 0 {
		return 0, next, err
	}
	moved, err = c.sendBackSome(from, list, r)
	var bound *BoundError
	if errors.As(err, &bound) && bound.Room > 0 && bound.Room < len(list) {
		next = list[bound.Room].pos
		moved, err = c.sendBackSome(from, list[:bound.Room], r)
	}
	return moved, next, err
}

// fitting returns those of the letters whose bodies are not larger than most, and counts the others, which stay.
func (r *redrive) fitting(list []letter, most int64) []letter {
	some := len(list)
	list = slices.DeleteFunc(list, func(l letter) bool { return int64(len(l.body)) > most })
	r.large += some - len(list)
	return list
}

// tooLarge says that some stay, nil that none was too large.
func (r *redrive) tooLarge() error {
	if r.large == 0 {
		return nil
	}
	return fmt.Errorf("%d stay, as each is larger than max_bytes allows", r.large)
}

// note says why a redrive waits, nil that it does not.
func (c *Channel) note(r *redrive, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Error = ""
	if err != nil {
		r.Error = err.Error()
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// letters returns dead letters of the channel, at most limit, from a position on and before until, and where to go on; next is 0 when there
// are no more.
func (c *Channel) letters(from *Topic, at, until Position, limit int) (list []letter, next Position, err error) {
	size := 0
	err = from.walk(at, func(f protocol.MessageFrame, pos Position, beside []byte, sum uint32) bool {
		if pos >= until {
			return false
		}
		if !c.isFrom(beside) {
			return true
		}
		if len(list) == limit || size >= buryBytes {
			next = pos
			return false
		}
		list = append(list, letter{pos: pos, body: slices.Clone(f.Body()), beside: slices.Clone(beside), sum: sum})
		size += len(f)
		return true
	})
	return list, next, err
}

// isFrom reports whether a dead letter is one of the channel.
func (c *Channel) isFrom(beside []byte) bool {
	list, err := journal.ParseProperties(beside)
	if err != nil {
		return false
	}
	topic, channel := "", ""
	for _, p := range list {
		switch p.Name {
		case letterTopic:
			topic = p.Value
		case letterChannel:
			channel = p.Value
		}
	}
	return topic == c.topic.name && channel == c.name
}

// sendBackSome moves dead letters, those that nobody has, by one record. It returns how many went.
func (c *Channel) sendBackSome(from *Topic, list []letter, r *redrive) (moved int, err error) {
	b := sentBack{move: move{from: from, to: c.topic, channel: journal.Everywhere, only: c.id, why: journal.Redriven}, of: c, list: list}
	b.fill(list) // as many ids as may be needed
	b.check, b.write = b.take, b.record
	if err := c.topic.registry.writable(); err != nil {
		return 0, err
	}
	err = b.run()
	b.pulling.end(err)
	switch {
	case errors.Is(err, channel.ErrNothing):
		b.left = nil
	case err != nil:
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Moved += len(b.left)
	r.InFlight += b.busy
	return len(b.left), nil
}

// sentBack is dead letters on their way back by one record.
type sentBack struct {
	move
	pulling
	of   *Channel
	list []letter
	busy int // that stay, as consumers have them
}

// fill makes the batch of dead letters.
func (b *sentBack) fill(list []letter) {
	b.batch.Reset()
	b.left, b.batch.beside = b.left[:0], nil
	for _, l := range list {
		if l.sum != 0 {
			b.batch.setSum(b.batch.n, l.sum)
		}
		b.batch.beside = append(b.batch.beside, journal.Beside{Pos: Position(b.batch.n), Data: l.beside})
		b.batch.Add(l.body)
		b.left = append(b.left, l.pos)
	}
}

// take is move.check: it leaves those of the list in the batch that nobody has. With nil the channels of the dead letter topic stay locked.
func (b *sentBack) take() error {
	if !slices.Contains(b.to.Channels(), b.of) {
		return fmt.Errorf("%w: %q", ErrChannelNotFound, b.of.name)
	}
	if err := b.to.roomLocked(&b.batch); err != nil {
		return err
	}
	if err := b.of.ownRoom(&b.batch); err != nil {
		return err
	}
	b.pulling = pulling{channels: b.from.all()}
	b.lock()
	free, taken, err := b.free(b.list)
	if b.busy = taken; err == nil && len(free) == 0 {
		err = channel.ErrNothing
	}
	if err != nil {
		b.unlock()
		return err
	}
	b.fill(free)
	return nil
}

// record is move.write.
func (b *sentBack) record(head, frames []byte) journal.Offset {
	defer b.unlock()
	b.pull(b.left)
	return b.from.d.log.Append(journal.KindMoved, head, frames)
}
