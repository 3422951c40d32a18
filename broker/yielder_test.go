package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
)

// TestTopicsThatCannotGiveWayKeepNoOther: the channels of very many cannot be passed on, as nobody leads their groups. Those of another one can.
func TestTopicsThatCannotGiveWayKeepNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kick := make(chan struct{}, 1)
		r := topic.NewRegistry(topic.Config{MemQueueSize: 100})
		r.Start()
		defer r.Close()
		add := func(name string) {
			t.Helper()
			made, err := r.Topic(name)
			if err == nil {
				_, err = made.Channel("c")
			}
			if err != nil {
				t.Fatal(err)
			}
			r.SetReplicated(name, true)
		}
		for i := range 3 * mostYields {
			add(fmt.Sprint("a", i))
		}
		add("b")
		const wait = 5 * time.Second
		y := newYielder(r, func(ctx context.Context, name, _ string) error {
			if name == "b" {
				return nil
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			return errors.New("nobody leads it")
		}, kick, slog.New(slog.DiscardHandler))
		ctx, end := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { y.run(ctx) })
		time.Sleep(4 * (wait + passPace + yieldPace))
		if r.Lookup("b") != nil {
			t.Errorf("it is there after %v", 4*(wait+passPace+yieldPace))
		}
		end()
		runs.Wait()
	})
}
