package pub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/targets"
	"brokerd/protocol/keyrule"
)

// sender publishes pieces to the brokers.
type sender struct {
	topic    string
	words    string        // behind the topic of each publish
	delay    time.Duration // of each message
	due      time.Time     // of each message, in place of the delay; zero: it is not said
	brokers  []*appkit.Publisher
	all      bool          // to every broker, not to one of them
	turn     int           // whose it is, when not to all
	rule     *keyrule.Rule // takes the key out of a piece that says which broker gets it; nil: none says
	limiter  *rate.Limiter
	batch    int // pieces at once, at least 1
	bytes    int // of pieces at once, unless a single one is longer
	retry    time.Duration
	progress *appkit.Progress
	log      *slog.Logger
}

// send publishes the pieces in order and returns once they are acknowledged, or why the first that is not cannot be.
func (s *sender) send(ctx context.Context, pieces [][]byte) error {
	for len(pieces) > 0 {
		n, size := 0, 0
		for n < len(pieces) && n < s.batch && (n == 0 || size+len(pieces[n]) <= s.bytes) {
			size += len(pieces[n])
			n++
		}
		if err := s.limiter.WaitN(ctx, n); err != nil {
			return err
		}
		if err := s.publish(ctx, pieces[:n]); err != nil {
			return err
		}
		s.progress.Done.Add(int64(n))
		s.progress.Bytes.Add(int64(size))
		pieces = pieces[n:]
	}
	return nil
}

// publish sends one batch to whom it belongs.
func (s *sender) publish(ctx context.Context, pieces [][]byte) error {
	if s.rule != nil {
		return s.byKey(ctx, pieces)
	}
	if !s.all {
		return s.toOne(ctx, pieces)
	}
	if len(s.brokers) == 1 {
		return s.to(ctx, s.brokers[0], pieces)
	}
	failures := make([]error, len(s.brokers))
	var wait sync.WaitGroup
	for i, broker := range s.brokers {
		wait.Go(func() { failures[i] = s.to(ctx, broker, pieces) })
	}
	wait.Wait()
	return errors.Join(failures...)
}

// byKey sends each piece to the broker of its key, in order, and waits for that one while it does not take it. Those without a key go to one
// broker, in turn.
func (s *sender) byKey(ctx context.Context, pieces [][]byte) error {
	addresses := make([]string, len(s.brokers))
	for i, broker := range s.brokers {
		addresses[i] = broker.Addr()
	}
	parts := make([][][]byte, len(s.brokers)+1)
	for _, piece := range pieces {
		owner := len(s.brokers)
		if key := s.rule.Key(piece); len(key) > 0 {
			owner = targets.Owner(key, addresses)
		}
		parts[owner] = append(parts[owner], piece)
	}
	failures := make([]error, len(parts))
	var wait sync.WaitGroup
	for i, part := range parts {
		switch {
		case len(part) == 0:
		case i == len(s.brokers):
			wait.Go(func() { failures[i] = s.toOne(ctx, part) })
		default:
			wait.Go(func() { failures[i] = s.to(ctx, s.brokers[i], part) })
		}
	}
	wait.Wait()
	return errors.Join(failures...)
}

// to sends one batch to one broker, again and again while that makes sense.
func (s *sender) to(ctx context.Context, broker *appkit.Publisher, pieces [][]byte) error {
	return s.again(ctx, func(ctx context.Context) error {
		done, err := s.put(ctx, broker, pieces)
		pieces = pieces[done:]
		return s.explain(ctx, broker, blame(pieces, err))
	})
}

// put sends messages to a broker, and returns how many from the front were acknowledged. Those that are for later go one by one.
func (s *sender) put(ctx context.Context, broker *appkit.Publisher, pieces [][]byte) (done int, err error) {
	delay := s.delay
	if !s.due.IsZero() {
		delay = max(0, (time.Until(s.due) + time.Millisecond - 1).Truncate(time.Millisecond))
	}
	if delay == 0 {
		return broker.PublishApart(ctx, s.topic+s.words, pieces)
	}
	for _, piece := range pieces {
		if err := broker.PublishDeferred(ctx, s.topic+s.words, delay, piece); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// explain finds out, at the first failure of all, whether the broker's address is that of another protocol.
func (s *sender) explain(ctx context.Context, broker *appkit.Publisher, err error) error {
	if err == nil || appkit.Permanent(err) || s.progress.Failed.Load() > 0 {
		return err
	}
	return appkit.ExplainTCP(ctx, broker.Addr(), err)
}

// hopeless reports whether trying again will not change the error.
func hopeless(err error) bool {
	return appkit.Permanent(err) || errors.As(err, new(*appkit.WrongPortError))
}

// toOne sends one batch to the broker whose turn it is, or to the next one that takes it.
func (s *sender) toOne(ctx context.Context, pieces [][]byte) error {
	return s.again(ctx, func(ctx context.Context) error {
		var failures []error
		for range s.brokers {
			broker := s.brokers[s.turn]
			s.turn = (s.turn + 1) % len(s.brokers)
			done, err := s.put(ctx, broker, pieces)
			pieces = pieces[done:]
			if err = s.explain(ctx, broker, blame(pieces, err)); err == nil || appkit.Permanent(err) || ctx.Err() != nil {
				return err
			}
			failures = append(failures, err)
		}
		return errors.Join(failures...)
	})
}

// blame says in a refusal which message was refused: the first of those that are left.
func blame(left [][]byte, err error) error {
	if appkit.Permanent(err) {
		return fmt.Errorf("a message of %d bytes: %w", len(left[0]), err)
	}
	return err
}

// patience is how long something that is under way may take when there is no trying again, or the tool is to stop.
const patience = 5 * time.Second

// again calls try until it succeeds, is refused for good, or the time for it is over.
func (s *sender) again(ctx context.Context, try func(ctx context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, max(s.retry, time.Nanosecond))
	defer cancel()
	var last error
	err := appkit.Retry(within, appkit.Backoff{Max: 2 * time.Second}, func() error {
		under, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(s.retry, patience))
		defer cancel()
		if last = try(under); hopeless(last) {
			return appkit.Stop(last)
		}
		if last != nil {
			s.progress.Failed.Add(1)
			s.log.Warn("could not publish", "error", last)
		}
		return last
	})
	if err != nil && !hopeless(err) && ctx.Err() == nil {
		return fmt.Errorf("not acknowledged within %v: %w", s.retry, last)
	}
	return err
}
