package brokerctl

import (
	"flag"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// deferredFlags say what is listed.
type deferredFlags struct {
	limit int
	from  string
}

var deferredVerb = verb{
	name: "deferred", summary: "list the messages that are not to be delivered yet, by when they are due", args: "TOPIC [CHANNEL]",
	help: `Lists what CHANNEL has deferred or, without it, what the topic itself has while it is paused or has no channel. It is brokerd's own: an nsqd
does not know.`,
	example: "deferred orders billing --limit=20 --nsqd-http-address=127.0.0.1:4151",
	flags: func(c *call, flags *flag.FlagSet) {
		flags.IntVar(&c.deferred.limit, "limit", 100, "how many of each broker, up to 1000")
		flags.StringVar(&c.deferred.from, "from", "", "only those that are due from a `time` on: 2026-01-31T10:00:00Z, or milliseconds since 1970")
	},
	run: listDeferred,
}

var cancelVerb = verb{
	name: "cancel", summary: "drop a message that is deferred", args: "TOPIC MESSAGE [CHANNEL]", changes: true, destroys: true,
	help:    messageHelp + "\n\nIt counts as discarded, for the reason cancelled. Without CHANNEL it is dropped wherever it is deferred.",
	example: "cancel orders 9a46327b72728d36 --lookupd-http-address=127.0.0.1:4161",
	run:     func(c *call) error { return reschedule(c, "/message/cancel", "dropping message %s of the topic %s") },
}

var releaseVerb = verb{
	name: "release", summary: "have a message that is deferred come at once", args: "TOPIC MESSAGE [CHANNEL]", changes: true,
	help:    messageHelp + "\n\nWithout CHANNEL it comes wherever it is deferred.",
	example: "release orders 17 billing --nsqd-http-address=127.0.0.1:4151",
	run:     func(c *call) error { return reschedule(c, "/message/release", "") },
}

const messageHelp = `MESSAGE is an id, 16 hex digits, or a position in the topic, as brokerctl deferred lists them and the broker told who published with
answer=id. Positions are each broker's own: they need exactly one --nsqd-http-address.`

// row is a message in a list of several brokers.
type deferredRow struct {
	Broker string `json:"broker"`
	httpapi.DeferredMessage
}

func listDeferred(c *call) error {
	if c.deferred.limit < 1 || c.deferred.limit > 1000 {
		return appkit.Usagef("--limit must be from 1 to 1000, not %d", c.deferred.limit)
	}
	path := query("/channel/deferred", c.args[0], c.args[1]) + "&limit=" + strconv.Itoa(c.deferred.limit)
	if c.deferred.from != "" {
		path += "&from=" + url.QueryEscape(c.deferred.from)
	}
	brokers, failures := c.brokersOf(c.args[0])
	rows, known, all := []deferredRow{}, 0, 0
	for _, a := range fleet.Each(brokers, func(address string) (d httpapi.DeferredMessages, err error) {
		err = c.fleet.Get(c.ctx, address, path, &d)
		return d, err
	}) {
		switch {
		case a.Err != nil && fleet.IsUnknown(a.Err):
			continue
		case a.Err != nil:
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
			continue
		}
		known++
		all += a.Value.Deferred
		for _, m := range a.Value.Messages {
			rows = append(rows, deferredRow{a.Address, m})
		}
	}
	if known == 0 && len(failures) == 0 {
		return appkit.Missingf("nobody knows %s", c.what())
	}
	return c.show(rows, failures, func(w io.Writer) {
		t := appkit.Table{Columns: []appkit.Column{{Name: "BROKER", Left: true}, {Name: "DUE", Left: true}, {Name: "POSITION"}, {Name: "ID", Left: true},
			{Name: "AGE"}, {Name: "BYTES"}, {Name: "ATTEMPTS", Extra: true}}}
		for _, r := range rows {
			t.Add(r.Broker, r.Due, strconv.FormatUint(r.Position, 10), r.ID, (time.Duration(r.Age) * time.Millisecond).Round(time.Second).String(),
				strconv.Itoa(r.Size), strconv.Itoa(int(r.Attempts)))
		}
		t.Write(w, 0)
		if len(rows) < all {
			fmt.Fprintf(w, "%d of %d\n", len(rows), all)
		}
	})
}

// reschedule does something to a message that is deferred; with a question when it asks first.
func reschedule(c *call, path, question string) error {
	topic, message := c.args[0], c.args[1]
	what, err := named(message)
	if err != nil {
		return err
	}
	brokers, failures := c.brokersOf(topic)
	if strings.HasPrefix(what, "pos=") && (len(c.direct) != 1 || len(brokers) > 1) {
		return appkit.Usagef("a position is one broker's own: name that one by --nsqd-http-address, and no other, or name the message by its id")
	}
	if question != "" {
		if err := c.ask(question, message, topic); err != nil {
			return err
		}
	}
	c.about = fmt.Sprintf("the message %s of the topic %s as one that is deferred", message, topic)
	return c.do(failures, steps(brokers, query(path, topic, c.args[2])+"&"+what))
}

// named returns the argument of a request that names a message.
func named(message string) (string, error) {
	if _, ok := protocol.ParseMessageID([]byte(message)); ok {
		return "id=" + message, nil
	}
	if n, err := strconv.ParseUint(message, 10, 64); err != nil || n == 0 {
		return "", appkit.Usagef("a message is named by its id, 16 lower-case hex digits, or by its position, a number from 1 on, not by %q", message)
	}
	return "pos=" + message, nil
}
