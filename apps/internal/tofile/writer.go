package tofile

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/appkit"
)

// maxBatch is how many bytes of lines are written in one piece, unless a single message is longer.
const maxBatch = 32 << 20

// batch is messages that are not in a file yet.
type batch struct {
	messages []*nsq.Message
	lines    []byte
	ends     []int       // of each message's line
	times    []time.Time // at which each came
}

func (b *batch) add(m *nsq.Message, now time.Time) {
	b.lines = append(append(b.lines, m.Body...), '\n')
	b.messages, b.ends, b.times = append(b.messages, m), append(b.ends, len(b.lines)), append(b.times, now)
	m.Body = nil // it is in the lines
}

// reset empties the batch and keeps its memory, unless that was for something unusually large.
func (b *batch) reset() {
	clear(b.messages)
	b.messages, b.lines, b.ends, b.times = b.messages[:0], b.lines[:0], b.ends[:0], b.times[:0]
	if cap(b.lines) > maxBatch {
		b.lines = nil
	}
}

// part returns the lines of the messages first to next-1.
func (b *batch) part(first, next int) []byte {
	from := 0
	if first > 0 {
		from = b.ends[first-1]
	}
	return b.lines[from:b.ends[next-1]]
}

// archive writes one topic. Its handler gathers messages; its loop owns the file.
type archive struct {
	options  *options
	folders  folders
	namer    namer
	log      *slog.Logger
	progress *appkit.Progress

	started  chan struct{} // closed when consumer is set
	consumer *appkit.Consumer
	kick     chan struct{} // a sync may be due
	hangup   chan struct{}

	draining atomic.Bool // nothing more will come: sync at once

	mu        sync.Mutex
	gathering *batch
	refusing  bool // there is no room: hand messages back

	// Owned by the loop:
	spare    *batch
	nameTime int64 // seconds, to which nameThen belongs
	nameThen string
	packer   packer
	out      *output // nil when no file is open
	lastName string
	lastRev  int
}

func newArchive(o *options, f folders, topic string, log *slog.Logger, progress *appkit.Progress) (*archive, error) {
	n, err := newNamer(o, topic, o.revised(f))
	if err != nil {
		return nil, err
	}
	return &archive{
		options: o, folders: f, namer: n, log: log.With("topic", topic), progress: progress,
		started: make(chan struct{}), kick: make(chan struct{}, 1), hangup: make(chan struct{}, 1),
		gathering: new(batch), spare: new(batch), packer: packer{compression: o.compression()},
	}, nil
}

// HandleMessage takes a message into the batch. It is finished later, by the loop.
func (a *archive) HandleMessage(m *nsq.Message) error {
	<-a.started
	m.DisableAutoResponse()
	a.mu.Lock()
	if a.refusing {
		a.mu.Unlock()
		m.RequeueWithoutBackoff(0)
		return nil
	}
	a.gathering.add(m, time.Now())
	due := a.dueLocked()
	a.mu.Unlock()
	if due {
		a.wake()
	}
	return nil
}

func (a *archive) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// dueLocked reports whether what was gathered should be synced before the interval is over: nothing more can come, or enough did.
func (a *archive) dueLocked() bool {
	n := len(a.gathering.messages)
	return n > 0 && (n >= a.options.consumer.MaxInFlight || len(a.gathering.lines) >= maxBatch || a.draining.Load() ||
		a.consumer.IsStarved())
}

// touchInterval is how often messages that wait for a sync are touched, so that the broker does not give them to somebody else.
const touchInterval = 20 * time.Second

// run writes until stop is closed and the last messages are written, or until it cannot go on.
func (a *archive) run(stop <-chan struct{}) error {
	ticker, touch := time.NewTicker(a.options.syncInterval), time.NewTicker(touchInterval)
	defer ticker.Stop()
	defer touch.Stop()
	var leaving sync.WaitGroup
	defer leaving.Wait()
	for ended := false; !ended; {
		tick, hangup := false, false
		select {
		case <-a.kick:
			if !a.due() {
				continue
			}
		case <-touch.C:
			a.touch()
			continue
		case <-ticker.C:
			tick = true
		case <-a.hangup:
			hangup = true
		case <-stop:
			stop = nil
			a.draining.Store(true)
			leaving.Go(a.consumer.Close)
		case <-a.consumer.StopChan:
			ended = true
		}
		if err := a.sync(tick, hangup || ended, stop); err != nil {
			leaving.Go(a.consumer.Close)
			if a.out != nil {
				a.out.abandon()
			}
			return err
		}
	}
	return nil
}

func (a *archive) due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dueLocked()
}

func (a *archive) touch() {
	a.mu.Lock()
	waiting := append([]*nsq.Message(nil), a.gathering.messages...) // the loop, which runs this, is who finishes them
	a.mu.Unlock()
	for _, m := range waiting {
		m.Touch()
	}
}

// sync writes and finishes what was gathered. On a tick it sees to rotation that no message brought about, and it closes the file if
// that is asked for. When there is no room it returns once there is, or stop is closed.
func (a *archive) sync(tick, closing bool, stop <-chan struct{}) error {
	a.mu.Lock()
	b := a.gathering
	a.gathering, a.spare = a.spare, nil
	a.mu.Unlock()
	done, err := a.write(b)
	if err == nil {
		err = a.settleFile(tick, closing)
	}
	if err != nil {
		a.handBack(b.messages[done:])
	}
	if appkit.NoRoom(err) {
		a.awaitRoom(err, int64(len(b.lines)), stop)
		err = a.settleFile(false, closing)
	}
	b.reset()
	a.spare = b
	return err
}

// settleFile closes and opens as the time or a signal demands it.
func (a *archive) settleFile(tick, closing bool) error {
	now := time.Now()
	switch {
	case closing:
		return a.closeFile()
	case !tick || !a.rotationDue(now, a.written()):
		return nil
	case a.options.skipEmptyFiles:
		return a.closeFile()
	}
	return a.rotate(now)
}

// write writes and finishes the batch's messages, and returns how many.
func (a *archive) write(b *batch) (int, error) {
	done := 0
	for done < len(b.messages) {
		if a.rotationDue(b.times[done], a.written()) || a.out.misplaced() {
			if err := a.rotate(b.times[done]); err != nil {
				return done, err
			}
		}
		next := a.fitting(b, done)
		packed, err := a.packer.pack(b.part(done, next))
		if err != nil {
			return done, err
		}
		if err := a.out.write(packed); err != nil {
			return done, err
		}
		a.out.lines += int64(len(b.part(done, next)))
		for _, m := range b.messages[done:next] {
			m.Finish()
		}
		a.progress.Done.Add(int64(next - done))
		a.progress.Bytes.Add(int64(len(packed)))
		done = next
	}
	return done, nil
}

// fitting returns the number of the first message behind first that does not belong into the same file.
func (a *archive) fitting(b *batch, first int) int {
	next := first + 1
	for next < len(b.messages) && !a.rotationDue(b.times[next], a.written()+int64(len(b.part(first, next)))) {
		next++
	}
	return next
}

func (a *archive) written() int64 {
	if a.out == nil {
		return 0
	}
	return a.out.lines
}

// rotationDue reports whether a message of the time t, before which so many bytes of lines are in the file, needs another file.
func (a *archive) rotationDue(t time.Time, written int64) bool {
	o := a.options
	return a.out == nil || a.out.file == nil || a.name(t) != a.out.name ||
		o.rotateInterval > 0 && t.Sub(a.out.opened) > o.rotateInterval || o.rotateSize > 0 && written > o.rotateSize
}

// name is the name of the file for messages of the time t; it is made once a second.
func (a *archive) name(t time.Time) string {
	if second := t.Unix(); second != a.nameTime {
		a.nameTime, a.nameThen = second, a.namer.name(t)
	}
	return a.nameThen
}

// closeFile closes the open file, if there is one, and moves it where it belongs.
func (a *archive) closeFile() error {
	if a.out == nil {
		return nil
	}
	if err := a.out.finish(); err != nil {
		return err
	}
	a.log.Info("closed a file", "file", a.out.path)
	a.out = nil
	return nil
}

// rotate closes the open file and opens the one for messages of the time t.
func (a *archive) rotate(t time.Time) error {
	if err := a.closeFile(); err != nil {
		return err
	}
	name, rev := a.name(t), 0
	if name == a.lastName {
		rev = a.lastRev
	}
	how, err := a.opening()
	for err == nil {
		var out *output
		out, err = openOutput(a.folders, name, rev, how, a.log)
		switch {
		case errors.Is(err, errAgain):
			err = nil
		case errors.Is(err, errTaken) && a.options.revised(a.folders):
			err = nil
			rev++
		case err == nil:
			out.opened = t
			a.out, a.lastName, a.lastRev = out, name, rev
			a.log.Info("opened a file", "file", out.path)
			return nil
		}
	}
	return err
}

// opening says how this archive's files are opened. One that is packed begins with an empty member, so that it is good for the
// standard tools before the first message is in it.
func (a *archive) opening() (opening, error) {
	how := opening{exclusive: a.packer.start != nil || a.options.rotateInterval > 0, limit: a.options.rotateSize}
	if a.packer.start == nil {
		return how, nil
	}
	head, err := a.packer.pack(nil)
	how.head = slices.Clone(head)
	return how, err
}
