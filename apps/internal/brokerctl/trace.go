package brokerctl

import (
	"flag"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

// traceFlags say how much is shown of a message.
type traceFlags struct {
	body    string
	history bool
}

var traceVerb = verb{
	name: "trace", summary: "show one message, and what each channel has of it", args: "TOPIC MESSAGE",
	help: `Asks all brokers of TOPIC where a message is: for each channel whether it waits, and behind how many, is in flight, and with whom, is deferred,
is in a dead letter topic, or is finished. Nothing changes. It is brokerd's own, and needs topics at level disk or fsync. A message that everybody is
done with is there only where the topic keeps it: see brokerctl retain.

MESSAGE is an id, 16 hex digits, or a position in the topic, as brokerctl peek shows them. Positions are each broker's own.`,
	example: "trace orders 9a46327b72728d36 --lookupd-http-address=127.0.0.1:4161\ntrace orders 17 --body=none --nsqd-http-address=127.0.0.1:4151",
	flags: func(c *call, flags *flag.FlagSet) {
		flags.BoolVar(&c.trace.history, "history", false, "add what the log has still of what happened to it, also when it is not there any more")
		flags.StringVar(&c.trace.body, "body", "full", "how much of the body: full, none or head:BYTES")
	},
	run: trace,
}

var finishVerb = verb{
	name: "finish", summary: "finish one message of a channel by hand", args: "TOPIC MESSAGE CHANNEL", changes: true, destroys: true,
	help: `For a message that no consumer gets done with: it leaves CHANNEL for good, whether it waits, is in flight or is deferred, and counts as
discarded, reason by_hand. Other channels keep it.

MESSAGE is an id, 16 hex digits, or a position in the topic, as brokerctl peek shows them. Positions are each broker's own.`,
	example: "finish orders 9a46327b72728d36 billing --lookupd-http-address=127.0.0.1:4161",
	run:     finish,
}

// traceRow is a message as one of several brokers has it.
type traceRow struct {
	Broker string `json:"broker"`
	httpapi.MessageAt
}

func trace(c *call) error {
	topic, message := c.args[0], c.args[1]
	what, err := named(message)
	if err != nil {
		return err
	}
	brokers, failures := c.brokersOf(topic)
	path := query("/message", topic, "") + "&" + what + "&body=" + url.QueryEscape(c.trace.body)
	if c.trace.history {
		path += "&history=true"
	}
	var rows []traceRow
	for _, a := range fleet.Each(brokers, func(address string) (m httpapi.MessageAt, err error) {
		err = c.fleet.Get(c.ctx, address, path, &m)
		return m, err
	}) {
		switch {
		case a.Err != nil && fleet.IsUnknown(a.Err):
		case a.Err != nil:
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
		default:
			rows = append(rows, traceRow{a.Address, a.Value})
		}
	}
	if len(rows)+len(failures) == 0 {
		return appkit.Missingf("nobody knows the message %s of the topic %s", message, topic)
	}
	return c.show(rows, failures, func(w io.Writer) { printTraces(w, rows) })
}

func printTraces(w io.Writer, rows []traceRow) {
	for i := range rows {
		r := &rows[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		kept := ""
		if r.Kept {
			kept = "  kept"
		}
		fmt.Fprintf(w, "%s  position %d  id %s  %s  %d bytes%s\n", r.Broker, r.Position, r.ID, r.Time, r.Size, kept)
		printProperties(w, &r.Message)
		if body := bodyText(&r.Message); body != "" {
			fmt.Fprintln(w, "    "+strings.ReplaceAll(strings.TrimSuffix(body, "\n"), "\n", "\n    "))
		}
		if r.Gone {
			fmt.Fprintln(w, "it is not there any more")
		} else {
			printWhere(w, r)
		}
		printHistory(w, r)
	}
}

// printHistory prints what happened to a message, as far as the log has it.
func printHistory(w io.Writer, r *traceRow) {
	if r.History == nil {
		return
	}
	if r.Since != "" {
		fmt.Fprintf(w, "history, of a log that goes back to %s:\n", r.Since)
	}
	for i := range r.History {
		e := &r.History[i]
		words := []string{"  " + e.Time, strings.ReplaceAll(e.Event, "_", " ")}
		if e.Attempt > 0 {
			words = append(words, fmt.Sprint(e.Attempt))
		}
		if e.Channel != "" {
			words = append(words, "on "+e.Channel)
		}
		for _, more := range [...]struct{ name, value string }{{"until", e.Due}, {"reason", e.Reason}, {"by", e.Client}} {
			if more.value != "" {
				words = append(words, more.name, more.value)
			}
		}
		switch {
		case e.Topic != "" && e.Event == "published":
			words = append(words, fmt.Sprintf("from %s, position %d", e.Topic, e.Position))
		case e.Topic != "":
			words = append(words, fmt.Sprintf("to %s, position %d", e.Topic, e.Position))
		}
		fmt.Fprintln(w, strings.Join(words, "  "))
	}
}

// printWhere prints what each channel has of a message.
func printWhere(w io.Writer, r *traceRow) {
	t := appkit.Table{Columns: []appkit.Column{{Name: "CHANNEL", Left: true}, {Name: "STATE", Left: true}, {Name: "ATTEMPTS"}, {Name: "MORE", Left: true}}}
	if r.Backlog != nil {
		t.Add("(the topic itself)", r.Backlog.State, strconv.Itoa(int(r.Backlog.Attempts)), moreOf(r.Backlog))
	}
	for i := range r.Channels {
		on := &r.Channels[i]
		attempts := ""
		if on.Attempts > 0 || on.State == "waiting" {
			attempts = strconv.Itoa(int(on.Attempts))
		}
		t.Add(on.Channel, on.State, attempts, moreOf(on))
	}
	t.Write(w, 0)
	if r.Unsure {
		fmt.Fprintln(w, "a dead letter topic was looked through in part only: what is finished may be a dead letter")
	}
}

// moreOf says in words what is known besides of a message on a channel.
func moreOf(on *httpapi.MessageOnChannel) string {
	switch {
	case on.Aside:
		return "another message of its key is out"
	case on.Ahead != nil:
		return fmt.Sprintf("about %d before it", *on.Ahead)
	case on.Client != "":
		return fmt.Sprintf("client %s since %s until %s", appkit.Plain(on.Client), on.Delivered, on.Deadline)
	case on.Due != "":
		return "due " + on.Due
	case on.Letter != nil:
		return fmt.Sprintf("in %s, position %d, id %s", on.Letter.Topic, on.Letter.Position, on.Letter.ID)
	}
	return ""
}

func finish(c *call) error {
	topic, message, channel := c.args[0], c.args[1], c.args[2]
	what, err := named(message)
	if err != nil {
		return err
	}
	brokers, failures := c.brokersOf(topic)
	if strings.HasPrefix(what, "pos=") && (len(c.direct) != 1 || len(brokers) > 1) {
		return appkit.Usagef("a position is one broker's own: name that one by --nsqd-http-address, and no other, or name the message by its id")
	}
	if err := c.ask("finish message %s on the channel %s of the topic %s", message, channel, topic); err != nil {
		return err
	}
	c.about = fmt.Sprintf("the message %s on the channel %s of the topic %s", message, channel, topic)
	return c.do(failures, steps(brokers, query("/message/finish", topic, channel)+"&"+what))
}
