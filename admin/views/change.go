package views

import (
	"encoding/json"
	"strconv"
)

// AppendChange appends the row as JSON with the topic's name and those figures only that are not as in old; an old of another
// topic, as the zero Row, leaves nothing out.
func (r *Row) AppendChange(to []byte, old *Row) []byte {
	c := change{quoted(append(to, `{"topic":`...), r.Topic), old.Topic != r.Topic}
	c.number("rate_in", r.RateIn, old.RateIn)
	c.number("rate_out", r.RateOut, old.RateOut)
	c.whole("depth", r.Depth, old.Depth)
	c.whole("backend_depth", r.BackendDepth, old.BackendDepth)
	c.whole("in_flight", int64(r.InFlight), int64(old.InFlight))
	c.whole("deferred", int64(r.Deferred), int64(old.Deferred))
	c.number("requeue_rate", r.RequeueRate, old.RequeueRate)
	c.number("timeout_rate", r.TimeoutRate, old.TimeoutRate)
	c.whole("message_count", int64(r.MessageCount), int64(old.MessageCount))
	c.whole("channels", int64(r.Channels), int64(old.Channels))
	c.whole("clients", int64(r.Clients), int64(old.Clients))
	c.whole("nodes", int64(r.Nodes), int64(old.Nodes))
	c.truth("paused", r.Paused, old.Paused)
	c.truth("stale", r.Stale, old.Stale)
	c.truth("down", r.Down, old.Down)
	c.number("failing", r.Failing, old.Failing)
	c.text("slowest", r.Slowest, old.Slowest)
	c.number("slowest_rate_out", r.SlowestOut, old.SlowestOut)
	c.whole("slowest_depth", r.SlowestDepth, old.SlowestDepth)
	c.whole("attention", int64(r.Attention), int64(old.Attention))
	return append(c.to, '}')
}

// change is the JSON of a row in the making.
type change struct {
	to  []byte
	all bool // also what did not change
}

func (c *change) whole(name string, now, was int64) {
	if c.all || now != was {
		c.to = strconv.AppendInt(c.key(name), now, 10)
	}
}

func (c *change) number(name string, now, was float64) {
	if c.all || now != was {
		c.to = strconv.AppendFloat(c.key(name), now, 'f', -1, 64)
	}
}

func (c *change) text(name, now, was string) {
	if c.all || now != was {
		c.to = quoted(c.key(name), now)
	}
}

func quoted(to []byte, text string) []byte {
	literal, err := json.Marshal(text)
	if err != nil { // a string always encodes
		panic(err)
	}
	return append(to, literal...)
}

func (c *change) truth(name string, now, was bool) {
	if c.all || now != was {
		c.to = strconv.AppendBool(c.key(name), now)
	}
}

func (c *change) key(name string) []byte {
	return append(append(append(c.to, ',', '"'), name...), '"', ':')
}
