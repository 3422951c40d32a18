package topic

import (
	"testing"
	"testing/synctest"
)

// TestALookAtATopicWaitsForMessagesOnTheirWay: a checkpoint looks at a channel, or at a topic's own backlog, once it is known what became of messages that a
// record has moved: until then they are in neither topic. Publishers do not wait with it.
func TestALookAtATopicWaitsForMessagesOnTheirWay(t *testing.T) {
	for _, back := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGated(t)
			g.log.set(true)
			setOptions(t, g.topic.LookupChannel("c"), `{"max_attempts":1}`)
			dead := mustTopic(t, g.r, "t.c.dlq")
			publish(t, g.topic, 1)
			f := flight{}
			f.takeAll(g.sub)
			g.log.set(back)
			f.answer(t, g.sub, "m1", Requeue, 0)
			synctest.Wait()
			from := g.topic
			if back {
				from = dead
				g.log.set(false)
				if _, err := g.topic.Redrive("c", RedriveOptions{}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			looked := make(chan topicSnapshot, 1)
			go func() {
				s := from.snapshot()
				s.lookAtChannels()
				looked <- s
			}()
			synctest.Wait()
			if len(looked) > 0 {
				t.Errorf("back %v: a look at messages of which nobody knows where they are", back)
			}
			if from.pub.TryLock() {
				from.pub.Unlock()
			} else {
				t.Errorf("back %v: publishers wait", back)
			}
			g.log.set(true)
			g.log.finish(t, 0, nil)
			<-looked
		})
	}
}
