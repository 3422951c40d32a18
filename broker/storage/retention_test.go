package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// keeping is a node with a topic that keeps messages, and a channel whose consumer finishes all that it gets.
type keeping struct {
	*node
	sub *topic.Subscription
	num int
}

func keep(t *testing.T, options string) *keeping {
	w := &keeping{node: newNode(t, 7)}
	w.set(options)
	w.subscribe()
	return w
}

func (w *keeping) topic() *topic.Topic {
	w.t.Helper()
	t, err := w.r.Topic("t0")
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

func (w *keeping) set(options string) {
	w.t.Helper()
	var changes map[string]json.RawMessage
	if err := json.Unmarshal([]byte(options), &changes); err != nil {
		w.t.Fatal(err)
	}
	if err := w.topic().SetOptions(changes); err != nil {
		w.t.Fatal(err)
	}
}

func (w *keeping) subscribe() {
	w.t.Helper()
	s, err := w.topic().Subscribe("c0", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	s.SetReady(2500)
	w.sub = s
}

// publish publishes count messages of size bytes, named by their number, each by itself.
func (w *keeping) publish(count, size int) {
	w.t.Helper()
	for range count {
		w.num++
		var b topic.Batch
		b.Add([]byte(fmt.Sprintf("%d-%s", w.num, strings.Repeat("x", size))))
		if err := w.topic().Publish(&b); err != nil {
			w.t.Fatal(err)
		}
	}
}

// consume takes and finishes all that there is, and returns which messages these were.
func (w *keeping) consume() (got []string) {
	for d := (topic.Delivery{}); ; d.Clear() {
		if w.sub.Take(&d) == 0 {
			synctest.Wait()
			if w.sub.Take(&d) == 0 {
				return got
			}
		}
		var answers []topic.Answer
		each(&d, func(f protocol.MessageFrame) {
			got = append(got, name(f.Body()))
			answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
		})
		w.sub.Apply(answers, nil)
	}
}

func name(body []byte) string {
	text, _, _ := strings.Cut(string(body), "-")
	return text
}

// shown returns the first and the last message that the topic shows, and how many; they must follow each other.
func (w *keeping) shown() (first, last string, count int) {
	w.t.Helper()
	before := topic.Position(0)
	for next := topic.Position(1); ; {
		l, err := w.topic().Browse(context.Background(), topic.Look{From: next, Limit: 1000, Body: -1})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, m := range l.Messages {
			if count++; before > 0 && m.Pos != before+1 {
				w.t.Errorf("position %d is shown behind %d", m.Pos, before)
			}
			before, last = m.Pos, name(m.Body)
			if first == "" {
				first = last
			}
		}
		if next = l.Next; l.End {
			return first, last, count
		}
	}
}

func (w *keeping) end() {
	w.sub = nil
	if err := w.stop(); err != nil {
		w.t.Error(err)
	}
}

// again ends the node as kill -9 does, and has its consumer come back.
func (w *keeping) again() {
	time.Sleep(time.Second) // what consumers have said is written
	w.kill()
	w.subscribe()
}

// TestMessagesAreKeptForATime: what was finished is shown until it is older than retain_time, over a kill too, exact to one node and one look;
// a topic to which nothing is published ages as well, and its files go. (c1, c2, c10)
func TestMessagesAreKeptForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"10m"}`)
		for range 40 { // a message in 10 s, for twenty minutes
			w.publish(3, 400)
			w.consume()
			time.Sleep(30 * time.Second)
		}
		check := func(when string) {
			t.Helper()
			synctest.Wait()
			first, last, count := w.shown()
			if n := count / 3; last != "120" || n < 19 || n > 24 {
				t.Errorf("%s: %d messages are kept, from %s to %s", when, count, first, last)
			}
			if s := w.topic().Channels()[0].Stats(); s.Held != 0 || !s.Balanced {
				t.Errorf("%s: the channel holds %d", when, s.Held)
			}
		}
		check("after twenty minutes")
		w.again()
		check("after a kill")
		if got := w.consume(); len(got) > 0 {
			t.Errorf("%d finished messages came again", len(got))
		}
		time.Sleep(time.Second)
		if k := w.topic().Kept(); k.Bytes < 60*400 || k.Bytes > 75*500 {
			t.Errorf("%d bytes are said to be kept", k.Bytes)
		}
		time.Sleep(10*time.Minute + retainEvery + time.Second)
		if _, _, count := w.shown(); count > 0 {
			t.Errorf("%d messages are kept of a topic to which nothing was published for longer", count)
		}
		time.Sleep(time.Minute)
		for path := range w.tree() {
			if strings.HasPrefix(path, "data/segments/") {
				t.Errorf("%s is left", path)
			}
		}
		next := w.topic().Shown() + 1
		w.again()
		w.publish(1, 10)
		if l, err := w.topic().Browse(context.Background(), topic.Look{From: 1, Limit: 10}); err != nil || len(l.Messages) != 1 || l.Messages[0].Pos < next {
			t.Errorf("after all had gone the next message is %+v, %v, want one from position %d on", l.Messages, err, next)
		}
		w.end()
	})
}

// TestMessagesAreKeptUpToASize: retain_bytes holds to one node, and what a channel needs stays beyond it, in order, over a kill.
func TestMessagesAreKeptUpToASize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_bytes":50000}`)
		for range 50 {
			w.publish(10, 400)
			w.consume()
			time.Sleep(time.Second)
		}
		time.Sleep(retainEvery)
		_, last, count := w.shown()
		if size := count * 430; last != "500" || size > 52_000 || size < 30_000 {
			t.Errorf("%d messages are kept, the last is %s", count, last)
		}
		if _, err := w.topic().Channel("c1"); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			w.publish(10, 400)
			w.consume()
			time.Sleep(time.Second)
		}
		time.Sleep(retainEvery)
		w.again()
		c := w.topic().LookupChannel("c1")
		if s := c.Stats(); s.Depth != 500 {
			t.Fatalf("the channel that nobody reads has %d messages", s.Depth)
		}
		if first, last, count := w.shown(); first != "501" || last != "1000" || count != 500 {
			t.Errorf("%d messages are shown, from %s to %s: what a channel needs must be", count, first, last)
		}
		w.end()
	})
}

// TestBrowsingBesideRemoval: who looks at the beginning while that is being dropped gets messages, or none, and never an error. (c3)
func TestBrowsingBesideRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_bytes":20000}`)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				for range 5 {
					if _, err := w.topic().Browse(context.Background(), topic.Look{From: 1, Limit: 1000, Body: -1}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		}()
		for range 100 {
			w.publish(10, 300)
			w.consume()
			w.r.Retain()
			time.Sleep(100 * time.Millisecond)
		}
		close(stop)
		<-done
		w.end()
	})
}

// TestHistoryGoesBeforePublishesAreRefused: on a disk that fills up, what is only kept goes first, and no publish is refused; what a channel
// needs stays.
func TestHistoryGoesBeforePublishesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		w.fs.SetLimit(8 << 20) // of which a twentieth is to be free: more than is written between two looks
		for range 1000 {       // 10 MB
			w.publish(10, 1000)
			w.consume()
			time.Sleep(100 * time.Millisecond)
		}
		k := w.topic().Kept()
		if _, _, count := w.shown(); count == 0 || k.Early == 0 {
			t.Errorf("%d messages are kept, %d were dropped early", count, k.Early)
		}
		w.again()
		if err := w.r.Health(); err != nil {
			t.Error(err)
		}
		w.end()
	})
}

// TestAMissingKeptFileRefusesTheStart: a file of which nothing but what is kept is left belongs to the folder as any other does.
func TestAMissingKeptFileRefusesTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		w.publish(100, 400)
		w.consume()
		w.end()
		gone := ""
		for path := range w.tree() {
			if strings.HasPrefix(path, "data/segments/") && (gone == "" || path < gone) {
				gone = path
			}
		}
		if gone == "" {
			t.Fatal("no file of segments is left by a clean stop")
		}
		whole := w.fs.KillClone()
		if err := w.fs.Remove(gone); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(w.options()); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), filepath.Base(gone)) {
			t.Errorf("a start without %s: %v", gone, err)
		}
		w.fs = whole
		w.start()
		w.subscribe()
		if _, _, count := w.shown(); count != 100 {
			t.Errorf("%d messages are kept after a clean stop", count)
		}
		w.set(`{"retain_time":null}`)
		if _, _, count := w.shown(); count != 0 {
			t.Errorf("%d messages are shown though nothing is to be kept any more", count)
		}
		w.end()
	})
}

// TestRetentionNeedsTheLog: a topic at level memory, and an ephemeral one, refuse to keep messages, and say why.
func TestRetentionNeedsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		for _, name := range []string{"t0", "t1#ephemeral"} {
			to, err := n.r.Topic(name)
			if err == nil && name == "t0" {
				err = to.SetDurability(topic.Memory)
				to = n.r.Lookup(name)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, option := range []string{`{"retain_time":"1h"}`, `{"retain_bytes":"1GiB"}`} {
				var changes map[string]json.RawMessage
				_ = json.Unmarshal([]byte(option), &changes)
				if err := to.SetOptions(changes); err == nil || !strings.Contains(err.Error(), "kept in the log") {
					t.Errorf("%s takes %s: %v", name, option, err)
				}
			}
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
