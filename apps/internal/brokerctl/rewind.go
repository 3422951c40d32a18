package brokerctl

import (
	"encoding/json"
	"flag"
	"io"
	"net/url"
	"strconv"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

// placeHelp says what a place is.
const placeHelp = `A place is beginning (of what is kept), end, a time as 2026-01-31T10:00:00Z, milliseconds since 1970 or -2h, pos:N or id:HEX.
Positions and ids are a broker's own: with several brokers name a time.`

// moveFlags are what rewind and skip were told.
type moveFlags struct {
	to  string
	all bool
}

func addPlace(c *call, flags *flag.FlagSet) {
	flags.StringVar(&c.move.to, "to", "", "the `place`")
}

var rewindVerb = verb{
	name: "rewind", summary: "have a channel read again, from a place on", args: "TOPIC CHANNEL", changes: true, destroys: true, run: rewind,
	help: `Every message from the place on that the topic keeps waits on the channel once more. What is unfinished before it stays; what is in flight
from there on is taken back. The topic must keep messages: see brokerctl retain. It asks before, and says how many messages will come.
` + placeHelp,
	example: "channel rewind orders billing --to=-2h --lookupd-http-address=127.0.0.1:4161\nchannel rewind orders billing --to=beginning --yes --nsqd-http-address=127.0.0.1:4151",
	flags:   addPlace,
}

var skipVerb = verb{
	name: "skip", summary: "discard what waits on a channel before a place", args: "TOPIC CHANNEL", changes: true, destroys: true, run: skip,
	help: `What is in flight or deferred stays, unless --all says that it goes too. It asks before, and says how many messages will go.
` + placeHelp,
	example: "channel skip orders billing --to=end --lookupd-http-address=127.0.0.1:4161",
	flags: func(c *call, flags *flag.FlagSet) {
		addPlace(c, flags)
		flags.BoolVar(&c.move.all, "all", false, "discard what is in flight or deferred before the place, too")
	},
}

func rewind(c *call) error {
	return c.moveTo("/channel/rewind", "have %s of %s wait once more, on %s", nil)
}

func skip(c *call) error {
	more := url.Values{}
	if c.move.all {
		more.Set("all", "true")
	}
	return c.moveTo("/channel/skip", "discard %s of %s, on %s", more)
}

// moveTo asks each broker what it would do, then the user, and then has it done.
func (c *call) moveTo(path, question string, more url.Values) error {
	if c.move.to == "" {
		return appkit.Usagef("--to says the place: beginning, end, a time as 2026-01-31T10:00:00Z or -2h, pos:N or id:HEX")
	}
	q := url.Values{"topic": {c.args[0]}, "channel": {c.args[1]}, "to": {c.move.to}}
	for name := range more {
		q.Set(name, more.Get(name))
	}
	brokers, failures := c.brokersOf(c.args[0])
	if !c.yes && !c.dryRun {
		messages, known := 0, 0
		for _, a := range fleet.Each(brokers, func(address string) (m httpapi.Moved, err error) {
			b, err := c.fleet.Do(c.ctx, "POST", address, path+"?"+q.Encode()+"&dry_run=true", nil)
			if err == nil {
				err = json.Unmarshal(b, &m)
			}
			return m, err
		}) {
			if a.Err == nil {
				messages += a.Value.Messages
				known++
			}
		}
		if known > 0 { // else the brokers say why
			if err := c.ask(question, counted(messages, "message"), c.what(), counted(known, "broker")); err != nil {
				return err
			}
		}
	}
	return c.do(failures, steps(brokers, path+"?"+q.Encode()))
}

// retainFlags are what retain was told.
type retainFlags struct {
	time, bytes string
	off         bool
}

var retainVerb = verb{
	name: "retain", summary: "keep a topic's messages after they are finished, and say what is kept", args: "TOPIC", changes: true, destroys: true, run: retain,
	help: `Sets the options retain_time and retain_bytes of TOPIC on each broker, and leaves one alone that is not named. Messages go when they are older than
the one or more than the other. --off has the topic keep nothing any more: what is finished goes at once, and so it asks before. Without a flag it prints
what each broker keeps.`,
	example: "retain orders --time=24h --bytes=10GiB --lookupd-http-address=127.0.0.1:4161\nretain orders --nsqd-http-address=127.0.0.1:4151",
	flags: func(c *call, flags *flag.FlagSet) {
		flags.StringVar(&c.retain.time, "time", "", "keep messages for so `long`, as 90s, 12h or 7d; 0s: no bound, if --bytes is one")
		flags.StringVar(&c.retain.bytes, "bytes", "", "keep so many `bytes` at most, as 10GiB; 0: no bound, if --time is one")
		flags.BoolVar(&c.retain.off, "off", false, "keep nothing that is finished any more")
	},
}

// keptAt is what one broker keeps.
type keptAt struct {
	Broker string        `json:"broker"`
	Kept   *httpapi.Kept `json:"kept"` // null: nothing
}

func retain(c *call) error {
	f := &c.retain
	var given []string
	switch {
	case f.off && f.time+f.bytes != "":
		return appkit.Usagef("--off and --time or --bytes exclude each other")
	case f.off:
		if err := c.ask("drop what %s keeps that is finished", c.what()); err != nil {
			return err
		}
		given = []string{"retain_time=null", "retain_bytes=null"}
	}
	if f.time != "" {
		given = append(given, "retain_time="+f.time)
	}
	if f.bytes != "" {
		given = append(given, "retain_bytes="+f.bytes)
	}
	if len(given) > 0 {
		return setOptions(c, "/topic/config", given)
	}
	return c.showKept()
}

// showKept prints what each broker keeps of the topic.
func (c *call) showKept() error {
	brokers, failures := c.brokersOf(c.args[0])
	var list []keptAt
	for _, a := range c.fleet.Stats(c.ctx, brokers, fleet.Query{Topic: c.args[0]}) {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
		}
		for _, t := range a.Value.Topics {
			list = append(list, keptAt{a.Address, t.Kept})
		}
	}
	if len(list)+len(failures) == 0 {
		return appkit.Missingf("nobody knows %s", c.what())
	}
	return c.show(list, failures, func(w io.Writer) { writeKept(w, list) })
}

func writeKept(w io.Writer, list []keptAt) {
	t := appkit.Table{Columns: []appkit.Column{{Name: "BROKER", Left: true}, {Name: "FROM"}, {Name: "BYTES"}, {Name: "OLDEST", Left: true}}}
	for _, k := range list {
		if k.Kept == nil {
			t.Add(k.Broker, "nothing is kept", "", "")
			continue
		}
		t.Add(k.Broker, strconv.FormatUint(k.Kept.FromPosition, 10), strconv.FormatInt(k.Kept.Bytes, 10), k.Kept.OldestTime)
	}
	t.Write(w, 0)
}
