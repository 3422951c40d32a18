package topic

import (
	"time"

	"brokerd/broker/backlog"
	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
)

// What becomes of a channel's messages, as the log's records say it, and as the nodes count who needs them.

// note writes down what has become of a channel's messages, and counts who needs their nodes.
func (d *logStore) note(c *Channel, e *channel.Effects) {
	var p pins
	for _, r := range e.Fresh {
		p.addRange(&d.table, r, 1)
	}
	for _, r := range e.Aside {
		p.addRange(&d.table, r, 1)
	}
	for _, r := range e.Finished {
		p.addRange(&d.table, r, -1)
	}
	for _, r := range e.Pulled {
		p.addRange(&d.table, r, 1)
	}
	for _, r := range e.Moved {
		p.addRange(&d.table, r, -1)
	}
	for _, gone := range e.Discarded {
		if gone.Out {
			p.addRange(&d.table, gone.Range, -1)
		}
	}
	p.flush()
	if !c.ephemeral {
		d.record(c, e)
	}
}

// records is where the records of a channel are made; it is guarded by the channel's lock.
type records struct {
	runs      journal.Runs
	deferrals journal.Deferrals
	last      journal.Offset // of the newest one
}

// record writes the records of what has become of a channel's messages. Of what has no reason nothing is said.
func (d *logStore) record(c *Channel, e *channel.Effects) {
	if c.records == nil {
		c.records = new(records)
	}
	r := c.records
	after := c.logged
	if len(e.Back) > 0 {
		d.recordBack(c, e.Back)
	}
	if len(e.Aside) > 0 { // first, and the other says that they have left, in case this one gets lost
		after = max(after, c.machine.After())
		r.runs.Begin(d.id, c.id)
		r.add(e.Aside)
		r.last = d.log.Append(journal.KindAside, r.runs.Record(), nil)
	}
	if len(e.Fresh)+len(e.Again) > 0 {
		d.recordBy(c, e.By)
		r.runs.BeginDelivered(d.id, c.id, after)
		r.add(e.Fresh)
		r.add(e.Again)
		r.last = d.log.Append(journal.KindDelivered, r.runs.Record(), nil)
	}
	if len(e.Finished) > 0 {
		d.recordBy(c, e.By)
		r.runs.Begin(d.id, c.id)
		r.add(e.Finished)
		r.last = d.log.Append(journal.KindFinished, r.runs.Record(), nil)
	}
	d.recordDiscarded(c, e.Discarded)
	if len(e.Deferred) > 0 {
		d.recordBy(c, e.By)
		wall := time.Now().UnixNano() - c.machine.At.Now
		r.deferrals.Begin(d.id, c.id)
		for _, m := range e.Deferred {
			r.deferrals.Add(m.Pos, wall+m.At)
		}
		r.last = d.log.Append(journal.KindDeferred, r.deferrals.Record(), nil)
	}
	c.logged = max(c.logged, c.machine.After())
}

// recordDiscarded writes the records of messages that have left unfinished.
func (d *logStore) recordDiscarded(c *Channel, list []channel.Discard) {
	r := c.records
	for i := 0; i < len(list); {
		why := list[i].Why
		r.runs.BeginDiscarded(d.id, c.id, why)
		for left := maxDiscarded; i < len(list) && list[i].Why == why && left > 0; i++ {
			part := &list[i].Range
			if n := part.Len(); n > left { // the rest goes into another record
				r.runs.AddRange(backlog.Range{First: part.First, Last: part.First + Position(left) - 1})
				part.First += Position(left)
				break
			}
			left -= part.Len()
			r.runs.AddRange(*part)
		}
		if why != 0 {
			r.last = d.log.Append(journal.KindDiscarded, r.runs.Record(), nil)
		}
	}
}

// maxDiscarded is how many positions one Discarded record holds at most: less than a reader takes.
const maxDiscarded = 1 << 19

func (r *records) add(list []backlog.Range) {
	for _, part := range list {
		r.runs.AddRange(part)
	}
}

// release says that the channel needs nothing of what has left its backlog any more.
func (d *logStore) release(c *Channel) {
	var p pins
	c.eachOut(func(pos Position) { p.add(&d.table, pos, -1) })
	p.flush()
}
