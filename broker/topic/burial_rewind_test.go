package topic

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// withPlace calls f with what changes where a channel reads.
func withPlace(t *testing.T, f func(t *testing.T, move func(*Channel))) {
	for name, move := range map[string]func(*Channel) error{
		"rewind": func(c *Channel) error { _, err := c.Rewind(Place{kind: atBeginning}, false); return err },
		"skip":   func(c *Channel) error { _, err := c.Skip(Place{kind: atEnd}, true, false); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f(t, func(c *Channel) {
					if err := move(c); err != nil && !errors.Is(err, errDisk) { // a skip tells that the log did not take it
						t.Error(err)
					}
				})
			})
		})
	}
}

// refuse has all commits that wait fail, and later ones succeed.
func (g *gated) refuse() {
	synctest.Wait()
	g.log.set(true)
	for len(g.log.ends) > 0 {
		g.log.finish(g.t, 0, errDisk)
	}
}

// TestPlacesKeepDeadLetters: a rewind or a skip of a channel while some of its messages are on their way to the dead letter topic drops none
// of them, whether their record is written or not, and when the disk refuses it they are tried again.
func TestPlacesKeepDeadLetters(t *testing.T) {
	withPlace(t, func(t *testing.T, move func(*Channel)) {
		g := newGated(t)
		g.log.set(true)
		c := g.sub.channel
		setOptions(t, c, `{"max_attempts":1}`)
		if err := g.topic.SetOptions(decodeOptions([]byte(`{"retain_time":"24h"}`))); err != nil {
			t.Fatal(err)
		}
		publish(t, g.topic, 1)
		failAll(t, g.sub) // makes the dead letter topic
		publish(t, g.topic, 3)
		g.log.set(false)
		failAll(t, g.sub)
		done := make(chan struct{})
		go func() { move(c); close(done) }()
		g.refuse()
		<-done
		time.Sleep(2 * buryAgain)
		synctest.Wait()
		if s, dead := c.Stats(), g.r.Lookup("t.c.dlq").Stats().Depth; dead != 4 || !s.Balanced || s.Buried != 0 {
			t.Errorf("%d of 4 are dead letters: %+v", dead, s)
		}
	})
}

// TestPlacesKeepWhatIsAboutToBeMoved: the same, before the record is written.
func TestPlacesKeepWhatIsAboutToBeMoved(t *testing.T) {
	withPlace(t, func(t *testing.T, move func(*Channel)) {
		cfg := config()
		makeDurable(&cfg)
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		c := mustChannel(t, topic, "c")
		setOptions(t, c, `{"max_attempts":1}`)
		if err := topic.SetOptions(decodeOptions([]byte(`{"retain_time":"24h"}`))); err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 3)
		c.mu.Lock()
		c.machine.StartBurial(func() bool { return true }) // as if somebody moved them
		c.mu.Unlock()
		failAll(t, mustSubscribe(t, topic, "c", 10, SubscribeOptions{}))
		c.enterNow()
		b := c.machine.BeginBurial(nil)
		c.exit()
		move(c)
		err := c.buryThese(b)
		c.enterNow()
		b.End(err, 0)
		c.machine.BeginBurial(nil) // nobody moves them any more
		c.exit()
		if dead := r.Lookup("t.c.dlq"); err != nil || len(b.List) != 3 || dead == nil || dead.Stats().Depth != 3 || !c.Stats().Balanced {
			t.Errorf("of %d: %v, %+v", len(b.List), err, c.Stats())
		}
	})
}

// TestPlacesKeepWhatGoesBack: a rewind or a skip of a channel of the dead letter topic while dead letters are on their way back drops none, when
// the disk refuses it.
func TestPlacesKeepWhatGoesBack(t *testing.T) {
	withPlace(t, func(t *testing.T, move func(*Channel)) {
		g := newGated(t)
		g.log.set(true)
		setOptions(t, g.sub.channel, `{"max_attempts":1}`)
		publish(t, g.topic, 3)
		failAll(t, g.sub)
		dead := g.r.Lookup("t.c.dlq")
		looks := mustChannel(t, dead, "looks")
		if err := dead.SetOptions(decodeOptions([]byte(`{"retain_time":"24h"}`))); err != nil {
			t.Fatal(err)
		}
		g.log.set(false)
		if _, err := g.topic.Redrive("c", RedriveOptions{}); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		synctest.Wait()
		go func() {
			if _, err := looks.Rewind(Place{kind: atBeginning}, false); err != nil && err != ErrKeepsNothing {
				t.Error(err)
			}
			move(looks)
			close(done)
		}()
		g.refuse()
		<-done
		if _, err := g.topic.StopRedrive("c"); err != nil {
			t.Log(err) // it has ended
		}
		synctest.Wait()
		s := looks.Stats()
		if back := g.topic.LookupChannel("c").Stats().Depth; back+int64(s.Held) != 3 || !s.Balanced {
			t.Errorf("%d went back, and of 3 are there: %+v", back, s)
		}
	})
}

// TestTopicsBacklogIsHandedOnWhole: what was deferred in a topic without channels and is due, and was read from disk to find out how old it is,
// comes to the first channel.
func TestTopicsBacklogIsHandedOnWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		if err := topic.SetOptions(decodeOptions([]byte(`{"ttl":"1h"}`))); err != nil {
			t.Fatal(err)
		}
		const count = 5
		for range count {
			var b Batch
			b.Add([]byte("later"))
			if err := topic.PublishDeferred(&b, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
		synctest.Wait()
		if n := drain(s); n != count {
			t.Errorf("%d of %d came; the topic's own has %+v", n, count, topic.own.Stats())
		}
	})
}
