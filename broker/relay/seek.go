package relay

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"brokerd/broker/topic"
)

const (
	answerWithin = 2 * time.Second // who is asked to take a subscription answers
	longestRest  = 200 * time.Millisecond
)

// look looks after a consumer, and returns when it is to be done again, 0 for not before something changes.
func (c *Consumer) look(now time.Time, lead *Lead, link func(folder string) uint64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == over {
		return 0
	}
	c.old.expire(c.now())
	if (c.at == asking || c.at == there) && link(c.folder) != c.link {
		c.loseLocked()
	}
	switch {
	case c.at == here:
		c.since = now
	case c.at == there && (lead.Folder == c.folder || !lead.Member && lead.Known):
		c.since = now
		c.tellTakenLocked()
	case c.at == there && lead.Folder != "", c.at == asking && (now.Sub(c.asked) > answerWithin || lead.Folder != "" && lead.Folder != c.folder):
		c.leaveLocked()
	}
	c.tellLocked()
	if c.at == seeking && !now.Before(c.next) {
		c.tryLocked(now, lead)
	}
	if c.at != here && c.at != over && now.Sub(c.since) >= c.r.o.Patience {
		if !c.beganLocked(ErrNoLeader) {
			c.endLocked(ErrNoLeader.Error())
		}
	}
	switch {
	case c.quietLocked():
		return 0
	case c.at == there || c.at == here:
		return watchPace
	}
	return seekPace
}

// quietLocked reports whether nothing about it can change without its being told.
func (c *Consumer) quietLocked() bool { return c.at == over || c.at == here && c.old.n == 0 }

// tryLocked tries to subscribe at who leads, or may.
func (c *Consumer) tryLocked(now time.Time, lead *Lead) {
	switch {
	case !lead.Known && c.beganLocked(topic.ErrNotReplicated): // the map has come, and does not have it
	case !lead.Known:
		c.endLocked("its topic was deleted")
	case lead.Here:
		t := c.r.o.Topics.Lookup(c.topic)
		if t == nil || !t.Replicated() {
			c.next = now.Add(seekPace) // it will be in a moment
			return
		}
		c.at = joining
		c.r.loops.Go(func() { c.join(t) }) // the loop that calls this is one of them
	case lead.Folder != "":
		c.askLocked(now, lead.Folder)
	case !lead.Member && c.hint != "":
		c.askLocked(now, c.hint)
		c.hint = ""
	case !lead.Member && len(lead.Others) > 0:
		c.round++
		c.askLocked(now, lead.Others[c.round%len(lead.Others)])
	default:
		c.next = now.Add(seekPace)
	}
}

// restLocked has it wait a little before it asks again: longer each time.
func (c *Consumer) restLocked(now time.Time) {
	rest := min(seekPace<<min(c.tries, 8), longestRest)
	c.at, c.next = seeking, now.Add(rest/2+rand.N(rest/2))
	c.tries++
}

// askLocked asks a node to take the subscription.
func (c *Consumer) askLocked(now time.Time, folder string) {
	c.folder, c.link = folder, c.r.o.Cluster.Link(folder)
	if c.link == 0 {
		c.next = now.Add(seekPace)
		return
	}
	q := Subscription{Topic: c.topic, Channel: c.channel, Name: c.o.Name, MsgTimeout: c.o.MsgTimeout, Standard: c.o.Standard, SampleRate: c.o.SampleRate,
		Client: c.about, Via: c.r.o.Node}
	question, err := json.Marshal(q)
	if err != nil {
		c.endLocked(err.Error())
		return
	}
	c.stream = c.r.enroll(c)
	if c.r.o.Cluster.Send(folder, kindSubscribe, c.stream, question) != nil {
		c.r.dismiss(c.stream)
		c.restLocked(now)
		return
	}
	c.at, c.asked = asking, now
}

// arriveLocked notes that who leads has taken the subscription.
func (c *Consumer) arriveLocked(w Welcome) {
	c.at, c.timeout, c.told, c.since, c.tries = there, w.MsgTimeout, 0, time.Now(), 0
	c.tellLocked()
	c.beganLocked(nil)
}

// refusedLocked notes that a node has not taken the subscription.
func (c *Consumer) refusedLocked(no *Refusal) {
	c.r.dismiss(c.stream)
	if !no.Elsewhere && c.beganLocked(errors.New(no.Reason)) {
		return
	}
	c.restLocked(time.Now())
	if no.Leader != "" && no.Leader != c.folder {
		c.hint, c.next = no.Leader, time.Now().Add(seekPace)
	}
}

// join subscribes here.
func (c *Consumer) join(t *topic.Topic) {
	sub, err := t.Subscribe(c.channel, c.o)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && c.at == over:
	case err != nil:
		if errors.Is(err, topic.ErrExiting) || errors.Is(err, topic.ErrNotLeader) || !c.beganLocked(err) {
			c.restLocked(time.Now())
		}
	case c.at == over:
		c.mu.Unlock()
		_ = sub.Close() // nothing is out
		c.mu.Lock()
	case c.gone == sub:
		c.restLocked(time.Now())
	default:
		c.at, c.told, c.since, c.tries = here, 0, time.Now(), 0
		c.local.Store(sub)
		c.tellLocked()
		c.beganLocked(nil)
	}
	c.gone = nil
	c.r.watch(c)
}
