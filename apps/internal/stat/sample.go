package stat

import (
	"cmp"
	"slices"
	"time"

	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

// Row is one topic, or one channel of it, over all brokers that answered. Rates are per second and 0 until a broker has
// answered twice.
type Row struct {
	Time     time.Time `json:"time"`
	Topic    string    `json:"topic"`
	Channel  string    `json:"channel,omitempty"` // empty for the topic itself
	Ingress  float64   `json:"ingress"`           // messages that came
	Egress   float64   `json:"egress"`            // messages that were finished; of a topic, those that its channels took over
	Requeued float64   `json:"requeue_rate"`
	TimedOut float64   `json:"timeout_rate"`
	Depth    int64     `json:"depth"`
	Memory   int64     `json:"memory_depth"`
	Disk     int64     `json:"disk_depth"`
	InFlight int       `json:"in_flight"`
	Deferred int       `json:"deferred"`
	Requeues uint64    `json:"requeues"`
	Timeouts uint64    `json:"timeouts"`
	Messages uint64    `json:"messages"`
	Clients  int       `json:"connections"`
	Paused   bool      `json:"paused"`               // at any broker
	Level    string    `json:"durability,omitempty"` // of the topic: memory, disk or fsync, or mixed; empty when only brokers that do not tell have it
	Brokers  int       `json:"brokers"`
	rated    bool      // a broker has answered twice, so that there are rates
}

// key names a row; channel is empty for a topic.
type key struct{ topic, channel string }

// counts is what only grows while a broker runs.
type counts struct{ messages, finished, requeues, timeouts uint64 }

// sample is one broker's answer, kept until the next.
type sample struct {
	at     time.Time
	counts map[key]counts
}

// sampler turns answers into rows. It is used by one goroutine.
type sampler struct {
	last map[string]sample // by broker's address
}

// add takes a round of answers and returns the rows, sorted by name. A broker's answer counts as of now.
func (s *sampler) add(now time.Time, answers []fleet.Answer[httpapi.Stats]) []Row {
	if s.last == nil {
		s.last = make(map[string]sample)
	}
	rows := make(map[key]*Row)
	for _, a := range answers {
		if a.Err != nil {
			continue
		}
		before := s.last[a.Address]
		this := sample{now, make(map[key]counts)}
		for i := range a.Value.Topics {
			collect(&a.Value.Topics[i], func(k key, c counts, add func(*Row)) {
				row := rows[k]
				if row == nil {
					row = &Row{Time: now, Topic: k.topic, Channel: k.channel}
					rows[k] = row
				}
				this.counts[k] = c
				row.Brokers++
				row.Messages += c.messages
				row.Requeues += c.requeues
				row.Timeouts += c.timeouts
				add(row)
				if was, ok := before.counts[k]; ok {
					row.addRates(was, c, now.Sub(before.at).Seconds())
				}
			})
		}
		s.last[a.Address] = this
	}
	list := make([]Row, 0, len(rows))
	for _, row := range rows {
		list = append(list, *row)
	}
	slices.SortFunc(list, byName)
	return list
}

// takeLevel takes in the level of the topic at one more broker.
func (r *Row) takeLevel(level string) {
	switch {
	case level == "" || level == r.Level:
	case r.Level == "":
		r.Level = level
	default:
		r.Level = "mixed"
	}
}

func byName(a, b Row) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Channel, b.Channel))
}

// collect calls row for a topic and for each of its channels.
func collect(t *httpapi.Topic, row func(k key, c counts, add func(*Row))) {
	row(key{t.TopicName, ""}, counts{messages: t.MessageCount, finished: less(t.MessageCount, t.Depth)}, func(r *Row) {
		r.takeLevel(t.Durability)
		r.Depth += t.Depth
		r.Disk += t.BackendDepth
		r.Memory += t.Depth - t.BackendDepth
		r.Paused = r.Paused || t.Paused
	})
	for i := range t.Channels {
		c := &t.Channels[i]
		waiting := c.Depth + int64(c.InFlightCount) + int64(c.DeferredCount)
		row(key{t.TopicName, c.ChannelName}, counts{
			messages: c.MessageCount, finished: less(c.MessageCount, waiting), requeues: c.RequeueCount, timeouts: c.TimeoutCount,
		}, func(r *Row) {
			r.takeLevel(t.Durability)
			r.Depth += c.Depth
			r.Disk += c.BackendDepth
			r.Memory += c.Depth - c.BackendDepth
			r.InFlight += c.InFlightCount
			r.Deferred += c.DeferredCount
			r.Clients += c.ClientCount
			r.Paused = r.Paused || c.Paused
		})
	}
}

// less returns count less what waits, and 0 where a broker counts its messages anew after a restart and had some already.
func less(count uint64, waiting int64) uint64 {
	if waiting < 0 || uint64(waiting) > count {
		return 0
	}
	return count - uint64(waiting)
}

// addRates adds what one broker did in so many seconds.
func (r *Row) addRates(was, is counts, seconds float64) {
	if seconds <= 0 {
		return
	}
	r.rated = true
	r.Ingress += grown(was.messages, is.messages) / seconds
	r.Egress += grown(was.finished, is.finished) / seconds
	r.Requeued += grown(was.requeues, is.requeues) / seconds
	r.TimedOut += grown(was.timeouts, is.timeouts) / seconds
}

// grown returns how far a counter went; one that went back began anew.
func grown(was, is uint64) float64 {
	if is < was {
		return float64(is)
	}
	return float64(is - was)
}
