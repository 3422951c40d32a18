package brokerctl

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

// peekFlags say which messages are shown, and how.
type peekFlags struct {
	from, state, contains, body string
	limit                       int
	follow, consistent          bool
}

var peekVerb = verb{
	name: "peek", summary: "show messages without taking them", args: "TOPIC[/CHANNEL]",
	help: `Shows messages of TOPIC that some channel, or the topic itself, still has, or with /CHANNEL as that channel has them: what waits, or what
--state says. Nothing changes: no attempts, nothing in flight. Bodies that are JSON are laid out, what is no text is shown as hex. It is brokerd's
own, and needs topics at level disk or fsync; with -f it goes on with what comes, from the end unless --from says otherwise: a broker that
does not answer is told of on the error output, and asked again. It ends when no broker knows the topic or channel any more.

Of a replicated topic it asks the broker that leads it, if it is among those that are named, else one that has a copy, which may lack the newest.`,
	example: "peek orders --contains=invoice-7 --lookupd-http-address=127.0.0.1:4161\npeek orders/billing --state=in_flight --nsqd-http-address=127.0.0.1:4151",
	flags: func(c *call, flags *flag.FlagSet) {
		p := &c.peek
		flags.StringVar(&p.from, "from", "", "a `place`: beginning, end, 2026-01-31T10:00:00Z, -2h, pos:N or id:HEX")
		flags.StringVar(&p.state, "state", "waiting", "of a channel: waiting, in_flight or deferred")
		flags.StringVar(&p.contains, "contains", "", "only messages whose body has this `text`")
		flags.StringVar(&p.body, "body", "full", "how much of each body: full, none or head:BYTES")
		flags.IntVar(&p.limit, "limit", 20, "how many of each broker")
		flags.BoolVar(&p.consistent, "consistent", false, "of a replicated topic: all that was acknowledged by now, from the broker that leads it, or an error")
		flags.BoolVar(&p.follow, "f", false, "go on with what comes, without a limit")
	},
	run: peek,
}

// peekRow is a message of one of several brokers.
type peekRow struct {
	Broker string `json:"broker"`
	httpapi.Message
}

// Bounds of what is asked for at once, and how long brokers that have shown all are left alone.
const (
	peekPage    = 1000
	followPause = 500 * time.Millisecond
)

func peek(c *call) error {
	path, err := c.peekPath()
	if err != nil {
		return err
	}
	brokers, failures := c.brokersOf(strings.Split(c.args[0], "/")[0])
	next, lost := map[string]string{}, map[string]error{}
	var rows []peekRow
	for _, a := range fleet.Each(brokers, func(address string) (seen, error) { return c.peekAt(address, path, "") }) {
		switch {
		case a.Err != nil && fleet.IsUnknown(a.Err):
		case a.Err != nil:
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
			if !fleet.IsRefusal(a.Err) {
				lost[a.Address] = a.Err // with -f it is asked again, from where it should have begun
			}
		default:
			rows = append(rows, a.Value.rows...)
			next[a.Address] = a.Value.next
		}
	}
	if len(next)+len(failures) == 0 {
		return appkit.Missingf("nobody knows %s", c.what())
	}
	if c.peek.follow && len(next)+len(lost) > 0 {
		for _, f := range failures {
			c.tellLost(f)
		}
		return c.peekOn(path, next, lost, rows)
	}
	return c.show(rows, failures, func(w io.Writer) { printMessages(w, rows) })
}

// peekPath checks what was asked for and returns the path that is asked of brokers.
func (c *call) peekPath() (string, error) {
	p := &c.peek
	topic, channel, ofChannel := strings.Cut(c.args[0], "/")
	c.about = "the topic " + topic
	switch {
	case p.limit < 1:
		return "", appkit.Usagef("--limit must be 1 or more, not %d", p.limit)
	case !ofChannel && p.state != "waiting":
		return "", appkit.Usagef("--state is of a channel: name it, as %s/CHANNEL", topic)
	case p.follow && p.state != "waiting":
		return "", appkit.Usagef("-f goes on with what comes, and --state=%s is in no such order", p.state)
	}
	path := query("/topic/messages", topic, "")
	if ofChannel {
		path = query("/channel/messages", topic, channel) + "&state=" + url.QueryEscape(p.state)
		c.about = fmt.Sprintf("the channel %s of the topic %s", channel, topic)
	}
	if p.consistent {
		path += "&consistent=true"
	}
	return path + "&body=" + url.QueryEscape(p.body) + "&contains=" + url.QueryEscape(p.contains), nil
}

// peekOn prints messages, and those that come, until the tool is told to end. next is where each broker goes on. Brokers that do not answer, as those in lost, are
// told of, and asked again; that they do then is told as well.
func (c *call) peekOn(path string, next map[string]string, lost map[string]error, rows []peekRow) error {
	for address := range lost {
		next[address] = ""
	}
	for {
		if err := c.stream(rows); err != nil {
			return err
		}
		select {
		case <-c.ctx.Done():
			return nil
		case <-time.After(followPause):
		}
		rows = rows[:0]
		unknown := 0
		for _, a := range fleet.Each(slices.Sorted(maps.Keys(next)), func(address string) (seen, error) { return c.peekAt(address, path, next[address]) }) {
			was := lost[a.Address]
			switch {
			case c.ctx.Err() != nil:
				return nil
			case a.Err == nil:
				rows = append(rows, a.Value.rows...)
				next[a.Address] = a.Value.next
				delete(lost, a.Address)
				if was != nil {
					fmt.Fprintf(c.env.Stderr, "%s: answers again\n", a.Address)
				}
				continue
			case fleet.IsUnknown(a.Err):
				unknown++
			}
			lost[a.Address] = a.Err
			if was == nil || fleet.Explain(was) != fleet.Explain(a.Err) {
				c.tellLost(fleet.Failure{Address: a.Address, Err: a.Err})
			}
		}
		if unknown == len(next) {
			return appkit.Missingf("nobody knows %s any more", c.what())
		}
	}
}

// tellLost tells of a daemon whose messages may be missing in what is shown.
func (c *call) tellLost(f fleet.Failure) {
	fmt.Fprintf(c.env.Stderr, "without %s\n", f.Error())
}

// seen is what one broker has shown.
type seen struct {
	rows []peekRow
	next string
}

// peekAt asks a broker for messages until it has shown as many as are wanted, or all that it has now.
func (c *call) peekAt(address, path, cursor string) (s seen, err error) {
	p := &c.peek
	for first := true; ; first = false {
		limit := peekPage
		if !p.follow {
			limit = min(limit, p.limit-len(s.rows))
		}
		page := path + "&limit=" + strconv.Itoa(limit)
		switch {
		case !first || cursor != "":
			page += "&cursor=" + url.QueryEscape(cursor)
		case p.from != "":
			page += "&from=" + url.QueryEscape(p.from)
		case p.follow:
			page += "&from=end"
		}
		var m httpapi.Messages
		if err := c.fleet.Get(c.ctx, address, page, &m); err != nil {
			return s, err
		}
		for i := range m.Messages {
			s.rows = append(s.rows, peekRow{address, m.Messages[i]})
		}
		if s.next, cursor = m.Next, m.Next; m.End || !p.follow && len(s.rows) >= p.limit || p.follow && len(s.rows) >= peekPage {
			return s, nil
		}
	}
}

// stream prints messages as they come: with --json one a line.
func (c *call) stream(rows []peekRow) error {
	if !c.json {
		printMessages(c.out, rows)
		return nil
	}
	encoder := json.NewEncoder(c.out)
	for i := range rows {
		if err := encoder.Encode(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// printMessages prints each message: a line of what is known of it, and its body.
func printMessages(w io.Writer, rows []peekRow) {
	for i := range rows {
		m := &rows[i]
		fmt.Fprintf(w, "%s  %d  %s  %s  %d bytes", m.Broker, m.Position, m.ID, m.Time, m.Size)
		if m.Attempts > 0 {
			fmt.Fprintf(w, "  attempts %d", m.Attempts)
		}
		for _, more := range [...]struct{ name, value string }{{"client", m.Client}, {"deadline", m.Deadline}, {"due", m.Due}} {
			if more.value != "" {
				fmt.Fprintf(w, "  %s %s", more.name, appkit.Plain(more.value))
			}
		}
		fmt.Fprintln(w)
		printProperties(w, &m.Message)
		if body := bodyText(&m.Message); body != "" {
			fmt.Fprintln(w, "    "+strings.ReplaceAll(strings.TrimSuffix(body, "\n"), "\n", "\n    "))
		}
	}
}

// printProperties prints what a message has beside its body.
func printProperties(w io.Writer, m *httpapi.Message) {
	for _, name := range slices.Sorted(maps.Keys(m.Properties)) {
		fmt.Fprintf(w, "    %s: %s\n", appkit.Plain(name), appkit.Plain(m.Properties[name]))
	}
}

// bodyText returns a body as people read it: JSON laid out, what is no text as hex, and nothing that a terminal would obey.
func bodyText(m *httpapi.Message) string {
	if m.Body == nil {
		return hex.Dump(m.BodyBase64)
	}
	var laid bytes.Buffer
	if text := strings.TrimSpace(*m.Body); (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")) && !nestedDeep(text) {
		if json.Indent(&laid, []byte(text), "", indent) == nil {
			return appkit.Plain(laid.String())
		}
	}
	return appkit.Plain(*m.Body)
}

// indent is what JSON is laid out with.
const indent = "  "

// nestedDeep reports whether JSON would become very much longer by being laid out: some KiB of brackets make hundreds of MiB.
func nestedDeep(text string) bool {
	depth, more, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			more += depth * len(indent)
		case c == '}' || c == ']':
			depth--
			more += depth * len(indent)
		case c == ',':
			more += depth * len(indent)
		}
	}
	return more > 8*len(text)+4096
}
