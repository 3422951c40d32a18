package broker

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"brokerd/broker/topic"
)

// yielder has topics of this broker alone give way to the replicated ones of their names: what they hold is consumed first, and their channels are made in
// the replicated ones, by whoever leads those.
type yielder struct {
	topics *topic.Registry
	pass   func(ctx context.Context, name, channel string) error
	log    *slog.Logger
	kick   chan struct{}

	mu   sync.Mutex        // guards what follows
	why  map[string]string // names of topics that could not give way when that was tried last, and why
	said map[string]bool   // the same: the log has told that they are in the way
	busy map[string]bool   // it is being tried
}

// yieldPace is how often it is tried.
const yieldPace = 100 * time.Millisecond

func newYielder(topics *topic.Registry, pass func(ctx context.Context, name, channel string) error, kick chan struct{}, log *slog.Logger) *yielder {
	return &yielder{topics: topics, pass: pass, log: log, kick: kick, why: map[string]string{}, said: map[string]bool{}, busy: map[string]bool{}}
}

// run tries it, now and then, until the context ends.
func (y *yielder) run(ctx context.Context) {
	var tries sync.WaitGroup
	defer tries.Wait()
	last := "" // whose turn it was
	for {
		names := y.topics.Yielding()
		y.forget(names)
		var again <-chan time.Time
		if len(names) > 0 {
			again = time.After(yieldPace)
		}
		for _, name := range behind(names, last) {
			if y.begin(name) {
				last = name
				tries.Go(func() { y.attempt(ctx, name) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-y.kick:
		case <-again:
		}
	}
}

// behind returns names, which are sorted, from those behind one on: very many that cannot give way keep no other from its turn.
func behind(names []string, one string) []string {
	i, there := slices.BinarySearch(names, one)
	if there {
		i++
	}
	return slices.Concat(names[i:], names[:i])
}

// attempt tries it with one topic, and rests when its channels cannot be passed on.
func (y *yielder) attempt(ctx context.Context, name string) {
	rest, err := y.try(ctx, name)
	y.note(name, err)
	if rest {
		select {
		case <-ctx.Done():
		case <-time.After(passPace):
		}
	}
	y.mu.Lock()
	delete(y.busy, name)
	y.mu.Unlock()
}

// passPace is how soon channels are passed on again that could not be.
const passPace = time.Second

// mostYields is how many topics it is tried with at the same time.
const mostYields = 32

func (y *yielder) begin(name string) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.busy[name] || len(y.busy) >= mostYields {
		return false
	}
	y.busy[name] = true
	return true
}

// note notes what has come of a try.
func (y *yielder) note(name string, err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case err == nil:
		delete(y.why, name)
		delete(y.said, name)
		return
	case errors.Is(err, topic.ErrExiting), errors.Is(err, topic.ErrUnpassed), errors.Is(err, context.Canceled): // it goes, or a channel has come just now
		return
	}
	y.why[name] = err.Error()
	if !y.said[name] {
		y.said[name] = true
		y.log.Warn("a topic of this broker alone has the name of a replicated one, and cannot give way yet", "topic", name, "error", err)
	}
}

// forget forgets what is known of topics that are not to give way any more.
func (y *yielder) forget(names []string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.why) == 0 {
		return
	}
	left := map[string]string{}
	for _, name := range names {
		if why, known := y.why[name]; known {
			left[name] = why
		}
	}
	for name := range y.why {
		if left[name] == "" {
			delete(y.said, name)
		}
	}
	y.why = left
}

// try has one give way, if that can be; unpassed says that its channels could not be passed on.
func (y *yielder) try(ctx context.Context, name string) (unpassed bool, err error) {
	t := y.topics.Lookup(name)
	if t == nil {
		return false, nil
	}
	if err := t.Pass(func(channel string) error { return y.pass(ctx, name, channel) }); err != nil {
		return true, cmp.Or(y.topics.InTheWay(name), err)
	}
	return false, y.topics.Yield(name)
}

// waits returns which ones cannot give way, and why, by names.
func (y *yielder) waits() map[string]string {
	names := y.topics.Yielding()
	y.mu.Lock()
	defer y.mu.Unlock()
	list := map[string]string{}
	for _, name := range names {
		if why := y.why[name]; why != "" {
			list[name] = why
		}
	}
	return list
}
