package topic

import (
	"errors"
	"slices"

	"brokerd/broker/channel"
)

// pulling is the channels of a dead letter topic, its own backlog too, while messages are taken out of all of them.
type pulling struct {
	channels []*Channel
	epochs   []int
	pulled   bool
}

// lock locks all channels: nobody else holds more than one.
func (p *pulling) lock() {
	for _, c := range p.channels {
		c.enterNow()
		p.epochs = append(p.epochs, c.machine.Epoch())
	}
}

func (p *pulling) unlock() {
	for _, c := range p.channels {
		c.exit()
	}
}

// errBusy is why nothing can be pulled just now.
var errBusy = errors.New("messages of a channel of the dead letter topic are on their way elsewhere")

// busy reports whether messages of a channel are being moved already.
func (p *pulling) busy() bool {
	return slices.ContainsFunc(p.channels, func(c *Channel) bool { return c.machine.Moving() })
}

// free returns those of some messages that wait on a channel that is kept, and that no consumer has; busy is how many consumers have.
func (p *pulling) free(list []letter) (free []letter, busy int) {
	where := make(map[Position]channel.Whereabouts, len(list))
	for _, l := range list {
		where[l.pos] = 0
	}
	for _, c := range p.channels {
		c.machine.Whereabouts(where)
	}
	for _, l := range list {
		switch is := where[l.pos]; {
		case is&channel.Taken != 0:
			busy++
		case is == channel.Waits:
			free = append(free, l)
		}
	}
	return free, busy
}

// pull takes messages out of all channels that have them.
func (p *pulling) pull(list []Position) {
	gone := make(map[Position]bool, len(list))
	for _, pos := range list {
		gone[pos] = true
	}
	for _, c := range p.channels {
		c.machine.Pull(list, gone)
	}
	p.pulled = true
}

// end says what became of the messages.
func (p *pulling) end(err error) {
	if !p.pulled {
		return
	}
	for i, c := range p.channels {
		c.enterNow()
		c.machine.EndPull(err, p.epochs[i])
		c.exit()
	}
	if err != nil { // what waits in the topic itself again may be its channels' by now
		t := p.channels[0].topic
		t.pub.Lock()
		t.releaseLocked()
		t.pub.Unlock()
	}
}
