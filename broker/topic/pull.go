package topic

import (
	"errors"
	"slices"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
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
		p.epochs = append(p.epochs, c.epoch)
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
	return slices.ContainsFunc(p.channels, func(c *Channel) bool { return c.graves != nil && len(c.graves.moving) > 0 })
}

// free returns those of some messages that wait on a channel that is kept, and that no consumer has; busy is how many consumers have.
func (p *pulling) free(list []letter) (free []letter, busy int) {
	const waits, out = 1, 2
	states := make(map[Position]uint8, len(list))
	for _, l := range list {
		states[l.pos] = 0
	}
	for _, c := range p.channels {
		note := func(state uint8) func(Position, uint16) {
			return func(pos Position, _ uint16) {
				if old, ok := states[pos]; ok {
					states[pos] = old | state
				}
			}
		}
		c.eachTaken(note(out))
		if c.ephemeral && c != c.topic.own {
			continue
		}
		c.eachHeld(note(waits))
		ranges := journal.Merge(c.mem.Ranges(nil))
		for _, l := range list {
			if len(within(ranges, l.pos, l.pos+1)) > 0 {
				states[l.pos] |= waits
			}
		}
	}
	for _, l := range list {
		switch state := states[l.pos]; {
		case state&out != 0:
			busy++
		case state == waits:
			free = append(free, l)
		}
	}
	return free, busy
}

// pull takes messages out of all channels that have them.
func (p *pulling) pull(list []Position) {
	gone := make(map[Position]bool, len(list))
	var ranges []backlog.Range
	for _, pos := range list {
		gone[pos] = true
		ranges = addPosition(ranges, pos)
	}
	for _, c := range p.channels {
		c.pull(ranges, gone)
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
		c.endPull(err, p.epochs[i])
		c.exit()
	}
	if err != nil { // what waits in the topic itself again may be its channels' by now
		t := p.channels[0].topic
		t.pub.Lock()
		t.releaseLocked()
		t.pub.Unlock()
	}
}
