package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/broker/topic"
	"brokerd/protocol"
)

// isDeadLetters reports whether a topic of the model holds dead letters: those of t1 go to d1. Nobody consumes them.
func isDeadLetters(name string) bool { return strings.HasPrefix(name, "d") }

// anyLimit says that this life has no limit of deliveries yet.
const anyLimit = -1

// anyMost draws after how many deliveries messages become dead letters.
func (n *node) anyMost() int {
	most := []int{0, 0, 1, 2, 3, 5}[n.rng.IntN(6)]
	if n.unlimited {
		return 0
	}
	if *crashHard {
		most = 1 + most%2
	}
	return most
}

// limit sets after how many deliveries messages become dead letters from now on; 0: never.
func (n *node) limit(most int) {
	n.most = most
	n.note("at most %d deliveries", most)
	for _, p := range n.promises {
		if most > 0 && len(p.deliveries) >= most {
			p.due = p.base // it need not wait any more
		}
	}
	all := n.orderedPatterns()
	for i := range topics {
		words := fmt.Sprintf("t%d/* max_attempts=%d dead_letter=d%d", i, max(1, most), i)
		if n.rng.IntN(3) == 0 {
			words += " backoff=fixed:3s"
		}
		if n.rng.IntN(2) == 0 {
			words += " backoff_requeue=true"
		}
		p, err := policy.ParsePattern(words, true)
		if err != nil {
			n.fail("%v", err)
		}
		if most > 0 {
			all.Channels = append(all.Channels, p)
		}
	}
	n.r.SetPatterns(all)
}

// deadLetters is what was found in dead letter topics when it was last looked.
type deadLetters struct {
	as    string // of the topics then
	found map[string]int
}

// dead returns the dead letters that there are, by the channel that they are from and their bodies. None may be there twice, none may have
// been finished, and each must be one that was published.
func (n *node) dead() map[string]int {
	found, as, depth := map[string]int{}, "", int64(0)
	var list []*topic.Topic
	for i := range topics {
		if t := n.r.Lookup(fmt.Sprint("d", i)); t != nil && t.IsDeadLetterTopic() {
			list = append(list, t)
			depth += int64(t.Stats().Depth)
			as += fmt.Sprintf("%p %d %+v ", t, t.Shown(), t.Stats()) // what has come is counted before it is shown
		}
	}
	if n.letters.as == as && as != "" {
		return n.letters.found
	}
	for _, t := range list {
		for next := topic.Position(1); next > 0; {
			l, err := t.Browse(context.Background(), topic.Look{From: next, Limit: 100, Body: -1})
			if err != nil {
				if !n.faults && !n.crash.done() {
					n.fail("looking at dead letters: %v", err)
				}
				break
			}
			for _, m := range l.Messages {
				n.look(t.Name(), m, found)
			}
			if next = l.Next; l.End {
				next = 0
			}
		}
	}
	if n.letters = (deadLetters{as, found}); int64(len(found)) != depth {
		n.letters = deadLetters{} // some are counted and not shown yet
	}
	return found
}

func (n *node) look(in string, m topic.Message, found map[string]int) {
	said := map[string]string{}
	for _, p := range m.Properties {
		said[p.Name] = p.Value
	}
	from := said["dead_letter.topic"]
	key := from + "/" + said["dead_letter.channel"] + "/" + string(m.Body)
	found[key]++
	p := n.promises[key]
	switch at, err := time.Parse(time.RFC3339Nano, said["dead_letter.time"]); {
	case n.messages[from+"/"+string(m.Body)] == nil:
		n.fail("%s has %.12q, which nobody published to %s", in, m.Body, from)
	case found[key] > 1 && !n.twice[key]:
		n.fail("%s has %.12q of %s twice", in, m.Body, from)
	case err != nil || at.After(wall()) && !n.clocks || said["dead_letter.attempts"] == "" || said["dead_letter.id"] == "":
		n.fail("%s has %.12q with the properties %q", in, m.Body, m.Properties)
	case p != nil && p.finished && !p.rewinds && !n.twice[key]:
		n.fail("%s has %.12q, which was finished at %d", in, m.Body, p.gone.lo)
	}
}

// redrive sends dead letters of a channel back. What a consumer of the dead letter topic has meanwhile must stay.
func (n *node) redrive() {
	t := n.randomTopic()
	list := t.Channels()
	d := n.r.Lookup("d" + t.Name()[1:])
	if len(list) == 0 || d == nil || !d.IsDeadLetterTopic() {
		return
	}
	c := list[n.rng.IntN(len(list))]
	synctest.Wait() // nothing is on its way there
	held := n.holdLetters(d)
	before := n.dead()
	lo := n.begin()
	_, err := t.Redrive(c.Name(), topic.RedriveOptions{From: d.Name(), Limit: n.rng.IntN(4)})
	synctest.Wait()
	_, _ = t.StopRedrive(c.Name())
	synctest.Wait()
	at := n.end(lo)
	after := n.dead()
	n.note("redrive %s/%s: %v, %d dead letters, then %d", t.Name(), c.Name(), err, len(before), len(after))
	for key, count := range before {
		switch p := n.promises[key]; {
		case after[key] < count: // what was rewound can be there twice
			n.redriven(key, at)
		case n.faults: // it may have failed with its record on the disk, and a crash then has it done
			n.sends(key, at)
			if p != nil {
				p.delayed, p.due, p.base = true, time.Time{}, time.Time{}
				clear(p.deliveries)
			}
		}
	}
	for _, body := range held.bodies {
		if after[t.Name()+"/c0/"+body]+after[t.Name()+"/c1/"+body] == 0 && !n.crash.done() && !n.faults {
			n.fail("%.12q was sent back though a consumer had it", body)
		}
	}
	if held.by != nil {
		_ = held.by.Close()
	}
}

// letters are dead letters that a consumer has.
type letters struct {
	by     *topic.Subscription
	bodies []string
}

// holdLetters has, at times, a consumer take some dead letters.
func (n *node) holdLetters(d *topic.Topic) (held letters) {
	if n.rng.IntN(3) > 0 {
		return held
	}
	s, err := d.Subscribe("looks", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
	if err != nil {
		return held
	}
	held.by = s
	s.SetReady(3)
	var got topic.Delivery
	s.Take(&got)
	for _, run := range got.Runs {
		for frames := run.Frames; len(frames) > 0; {
			f := protocol.FirstMessage(frames)
			frames = frames[len(f):]
			held.bodies = append(held.bodies, string(f.Body()))
		}
	}
	return held
}

// redriven says that a dead letter went back: it may come again, as the first time.
func (n *node) redriven(key string, at said) {
	n.note("%.20s goes back", key)
	p := n.promises[key]
	if p == nil {
		name, rest, _ := strings.Cut(key, "/")
		_, body, _ := strings.Cut(rest, "/")
		p = &promise{m: n.messages[name+"/"+body]}
		n.promises[key] = p
	}
	if p.gone.yes() {
		p.gone, p.strict, p.m.anywhere = said{}, false, false
	}
	p.redriven, p.back, p.delayed, p.due, p.base = true, true, true, time.Time{}, time.Time{}
	n.sends(key, at)
}

// sends notes when a dead letter went back, perhaps: also when the promise is forgotten with its channel, and a crash takes that back.
func (n *node) sends(key string, at said) {
	n.ageless[key] = true
	if old := n.sentBack[key]; old.yes() {
		at.lo = old.lo
	}
	n.sentBack[key] = at
}

// dropLetters empties a dead letter topic with its channels, deletes it, or empties or deletes one channel of it: what was there and nowhere
// else is gone for good, unless a crash takes that back.
func (n *node) dropLetters(name string) {
	synctest.Wait() // nothing is on its way there
	d := n.r.Lookup(name)
	if n.faults || n.crash.done() || d == nil || !d.IsDeadLetterTopic() {
		return
	}
	before := n.dead()
	lo := n.begin()
	var err error
	what := n.rng.IntN(4)
	switch {
	case what == 0:
		err = n.r.DeleteTopic(name)
	case what == 1:
		err = d.Empty()
		for _, c := range d.Channels() {
			err = errors.Join(err, c.Empty())
		}
	case what == 2 && len(d.Channels()) > 0:
		err = d.Channels()[0].Empty()
	case len(d.Channels()) > 0:
		err = d.DeleteChannel(d.Channels()[0].Name())
	}
	at := n.end(lo)
	n.letters = deadLetters{}
	after := n.dead()
	n.note("drop %d of %s: %v, %d dead letters, then %d", what, name, err, len(before), len(after))
	if err != nil && !n.crash.done() {
		n.fail("dropping dead letters of %s: %v", name, err)
	}
	for key := range before {
		if after[key] > 0 {
			continue
		}
		if !strings.HasPrefix(key, "t"+name[1:]+"/") {
			n.fail("%.20q has gone from another dead letter topic than %s", key, name)
		}
		topic, rest, _ := strings.Cut(key, "/")
		_, body, _ := strings.Cut(rest, "/")
		if m := n.messages[topic+"/"+body]; m.loose {
			m.anywhere = false
		}
		switch p := n.promises[key]; {
		case p != nil && p.rewinds: // it may wait as well
			p.strict = false
		case p != nil:
			p.gone = at
		}
	}
	if n.crash.done() {
		return
	}
	if (what == 0 || what == 1) && len(after) > 0 {
		for key := range after {
			if strings.HasPrefix(key, "t"+name[1:]+"/") {
				n.fail("%.20q is still in %s, which was emptied or deleted", key, name)
			}
		}
	}
}
