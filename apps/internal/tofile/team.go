package tofile

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
)

// team is the archives of all topics.
type team struct {
	options  *options
	folders  folders
	env      *appkit.Env
	progress *appkit.Progress

	archives map[string]*archive      // owned by run
	names    atomic.Pointer[[]string] // of their topics, sorted; progress reads them
	stop     chan struct{}            // closed to end all of them
	join     sync.WaitGroup
	failed   chan error // the first one of an archive
}

func newTeam(o *options, f folders, env *appkit.Env) *team {
	return &team{options: o, folders: f, env: env, archives: make(map[string]*archive), stop: make(chan struct{}), failed: make(chan error, 1)}
}

// run archives until ctx is done or an archive fails.
func (t *team) run(ctx context.Context) error {
	left, done := t.backlog(ctx)
	defer done()
	t.progress = t.env.Progress("messages", left)
	defer t.progress.Stop()
	err := t.supervise(ctx)
	close(t.stop)
	t.join.Wait()
	if err == nil {
		select {
		case err = <-t.failed:
		default:
		}
	}
	return err
}

// backlog says how much is left to archive, if there are lookups to ask. done is to be called once it is asked no more.
func (t *team) backlog(ctx context.Context) (left func() (int64, bool), done func()) {
	if len(t.options.consumer.Lookups) == 0 {
		return nil, func() {}
	}
	client := t.options.http.Client(t.env)
	asked := fleet.NewBacklog(ctx, fleet.New(client, nil, t.options.consumer.Lookups), t.options.channel, func() []string {
		if names := t.names.Load(); names != nil {
			return *names
		}
		return nil
	})
	return asked.Left, client.Close
}

func (t *team) supervise(ctx context.Context) error {
	found := make(chan []string)
	var seek sync.WaitGroup
	defer seek.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if len(t.options.topics) == 0 {
		seek.Go(func() { t.discover(ctx, found) })
	} else if err := t.add(t.options.topics); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-t.failed:
			return err
		case topics := <-found:
			if err := t.add(topics); err != nil {
				return err
			}
		case <-t.env.Hangup:
			for _, a := range t.archives {
				select {
				case a.hangup <- struct{}{}:
				default: // it has yet to see to the last
				}
			}
		}
	}
}

// discover sends the topics that the lookups know, at once and after each interval. What one lookup does not say another may.
func (t *team) discover(ctx context.Context, found chan<- []string) {
	client := t.options.http.Client(t.env)
	defer client.Close()
	discovery := appkit.NewDiscovery(client, t.options.consumer.Lookups)
	backoff := appkit.Backoff{Max: t.options.topicRefresh}
	for {
		topics, err := discovery.Topics(ctx)
		if err != nil && ctx.Err() == nil {
			t.env.Log.Warn("asking for topics", "error", err)
		}
		select {
		case found <- topics:
		case <-ctx.Done():
			return
		}
		wait := t.options.topicRefresh
		if discovery.Dead(err) {
			wait = backoff.Next()
		} else {
			backoff.Reset()
		}
		if appkit.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// add starts the archives of topics that match and have none yet.
func (t *team) add(topics []string) error {
	for _, topic := range topics {
		if t.archives[topic] != nil {
			continue
		}
		if !t.options.pattern.MatchString(topic) || appkit.CheckNames(topic, "") != nil {
			t.env.Log.Debug("not a topic to archive", "topic", topic, "pattern", t.options.topicPattern)
			continue
		}
		a, err := t.start(topic)
		if err != nil {
			return err
		}
		t.archives[topic] = a
	}
	names := slices.Sorted(maps.Keys(t.archives))
	t.names.Store(&names)
	return nil
}

func (t *team) start(topic string) (*archive, error) {
	a, err := newArchive(t.options, t.folders, topic, t.env.Log, t.progress)
	if err != nil {
		return nil, err
	}
	if a.consumer, err = t.options.consumer.Start(t.env, topic, t.options.channel, 1, a); err != nil {
		return nil, err
	}
	close(a.started)
	t.join.Go(func() {
		if err := a.run(t.stop); err != nil {
			select {
			case t.failed <- err:
			default: // another was first
			}
		}
	})
	return a, nil
}
