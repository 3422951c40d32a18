package topic

import (
	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
)

// Whose doing it was. The log of a topic with the option trace says to which consumer a message went, and from whom an answer came, or none
// in time. It is for people who ask what happened to a message, and for nothing else.

// recordBack writes down what came back from consumers, for each of them in a record of its own.
func (d *logStore) recordBack(c *Channel, list []channel.Returned) {
	for len(list) > 0 {
		first, n := list[0], 1
		from := first.From.Ref.(*Subscription)
		d.recordConsumer(c, from)
		r := c.records
		r.runs.BeginBack(d.id, c.id, from.number, first.How)
		for r.runs.Add(first.Pos); n < len(list) && list[n].From == first.From && list[n].How == first.How; n++ {
			r.runs.Add(list[n].Pos)
		}
		d.log.Append(journal.KindBack, r.runs.Record(), nil)
		list = list[n:]
	}
}

// recordBy writes down that the next record of the channel is a consumer's doing; nobody's, when there is none.
func (d *logStore) recordBy(c *Channel, by *channel.Consumer) {
	if by == nil {
		return
	}
	from := by.Ref.(*Subscription)
	d.recordConsumer(c, from)
	d.log.Append(journal.KindBy, journal.AppendBy(nil, d.id, c.id, from.number), nil)
}

// recordConsumer writes down what a consumer is called, unless the part of the log says so that a checkpoint leaves.
func (d *logStore) recordConsumer(c *Channel, s *Subscription) {
	if cut := d.topic.registry.cuts.Load() + 1; s.named != cut {
		s.named = cut
		d.log.Append(journal.KindConsumer, journal.AppendConsumer(nil, d.id, c.id, s.number, s.consumer.Name), nil)
	}
}
