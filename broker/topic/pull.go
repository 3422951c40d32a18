package topic

import (
	"errors"

	"brokerd/broker/channel"
)

// pulling is the channels of a dead letter topic, its own backlog too, while messages are taken out of all of them.
type pulling struct {
	channels []*Channel
	pulled   []channel.Pulled // of each
}

// lock locks all channels: nobody else holds more than one.
func (p *pulling) lock() {
	for _, c := range p.channels {
		c.enterNow()
	}
}

func (p *pulling) unlock() {
	for _, c := range p.channels {
		c.exit()
	}
}

// errBusy is why nothing can be pulled just now.
var errBusy = errors.New("messages of a channel of the dead letter topic are on their way elsewhere")

// free returns those of some messages that wait on a channel that is kept, and that no consumer has; taken is how many consumers have. It fails with
// errBusy.
func (p *pulling) free(list []letter) (free []letter, taken int, err error) {
	where := make(map[Position]channel.Whereabouts, len(list))
	for _, l := range list {
		where[l.pos] = 0
	}
	for _, c := range p.channels {
		if c.machine.Whereabouts(where) {
			return nil, 0, errBusy
		}
	}
	for _, l := range list {
		switch is := where[l.pos]; {
		case is&channel.Taken != 0:
			taken++
		case is == channel.Waits:
			free = append(free, l)
		}
	}
	return free, taken, nil
}

// pull takes messages out of all channels that have them.
func (p *pulling) pull(list []Position) {
	gone := make(map[Position]bool, len(list))
	for _, pos := range list {
		gone[pos] = true
	}
	for _, c := range p.channels {
		p.pulled = append(p.pulled, c.machine.Pull(list, gone))
	}
}

// end says what became of the messages.
func (p *pulling) end(err error) {
	for i, pulled := range p.pulled {
		c := p.channels[i]
		c.enterNow()
		pulled.End(err)
		c.exit()
	}
	if err != nil && len(p.pulled) > 0 { // what waits in the topic itself again may be its channels' by now
		t := p.channels[0].topic
		t.pub.Lock()
		t.releaseLocked()
		t.pub.Unlock()
	}
}
