package brokerctl

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

var drainVerb = verb{
	name: "drain", summary: "empty a broker and end it, without loss", args: "NODE", run: drain, changes: true, alone: true,
	help: `NODE is the broker's HTTP address, as node list prints it. It refuses publishes from then on, leaves the lookups, and ends when
consumers have answered what they have; what waits is kept. With --empty it delivers all that waits first, listed till then. The verb
tells how far it is, and returns once the broker has ended, or with --stay has drained. Interrupting it changes nothing: --undo does.`,
	example: "node drain 10.0.0.2:4151\nnode drain 10.0.0.2:4151 --empty --stay\nnode drain 10.0.0.2:4151 --undo",
	flags: func(c *call, flags *flag.FlagSet) {
		flags.BoolVar(&c.drain.empty, "empty", false, "deliver all that waits first")
		flags.BoolVar(&c.drain.stay, "stay", false, "leave the broker running, for a supervisor that would start it again")
		flags.BoolVar(&c.drain.undo, "undo", false, "take a drain back")
	},
}

// drainFlags are what node drain was told.
type drainFlags struct{ empty, stay, undo bool }

// drainPause is how often a broker is asked how far it is.
const drainPause = 500 * time.Millisecond

// drain begins a drain, or takes it back, and follows it.
func drain(c *call) error {
	node, body := c.args[0], "true"
	q := url.Values{}
	for name, on := range map[string]bool{"empty": c.drain.empty, "stay": c.drain.stay} {
		if on {
			q.Set(name, strconv.FormatBool(on))
		}
	}
	if c.drain.undo {
		body = "false"
	}
	path := "/config/drain"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	c.option = true
	if err := c.do(nil, []step{{address: node, method: http.MethodPut, path: path, body: []byte(body)}}); err != nil || c.dryRun || c.drain.undo {
		return err
	}
	return c.follow(node)
}

// follow tells how far a drain is, until the broker has drained or ended. A broker that ends is not there to say how that went: what it
// said last counts.
func (c *call) follow(node string) error {
	last := ""
	for {
		var d httpapi.Drain
		err := c.fleet.Get(c.ctx, node, "/config/drain", &d)
		switch {
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case err != nil && isAnswer(err):
			return err
		case err != nil:
			return c.say(node, "ended")
		case d.State == "":
			return fmt.Errorf("%s: the drain was taken back", node)
		}
		if text := progress(&d); text != last {
			last = text
			if err := c.say(node, text); err != nil {
				return err
			}
		}
		if d.State == "drained" && d.Stay {
			if d.Text != "" {
				return fmt.Errorf("%s: %s", node, d.Text)
			}
			return nil
		}
		if err := rest(c.ctx, drainPause); err != nil {
			return err
		}
	}
}

// isAnswer reports whether a daemon has answered, if only with an error.
func isAnswer(err error) bool {
	var status *httpapi.StatusError
	return errors.As(err, &status) || fleet.IsRefusal(err)
}

func progress(d *httpapi.Drain) string {
	text := fmt.Sprintf("%s: %d with consumers, %d left", d.State, d.InFlight, d.Left)
	if d.Text != "" {
		text += ": " + d.Text
	}
	return text
}

// say prints a line about a broker, to people only.
func (c *call) say(node, text string) error {
	if c.json {
		return nil
	}
	_, err := fmt.Fprintf(c.out, "%s  %s\n", node, text)
	return err
}

// rest waits, or returns the context's error when that ends first.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
