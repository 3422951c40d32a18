package brokerctl

import (
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

var redriveVerb = verb{
	name: "redrive", summary: "send a channel's dead letters back to it", args: "TOPIC CHANNEL", run: redrive, changes: true,
	help: `Each dead letter goes back once, and is delivered as if for the first time. What a consumer of the dead letter topic has stays there. Every
broker sends its own; the verb tells how far they are until all have ended. Interrupting it changes nothing: --stop does.`,
	example: "channel redrive orders billing --nsqd-http-address=127.0.0.1:4151\nchannel redrive orders billing --rate=100 --lookupd-http-address=127.0.0.1:4161\n" +
		"channel redrive orders billing --stop --lookupd-http-address=127.0.0.1:4161",
	flags: func(c *call, flags *flag.FlagSet) {
		flags.IntVar(&c.redrive.limit, "limit", 0, "messages at most of each broker; 0: all")
		flags.IntVar(&c.redrive.rate, "rate", 0, "messages a second at most of each broker; 0: as fast as it goes")
		flags.StringVar(&c.redrive.from, "from", "", "the dead letter `topic`, when it is another than the channel's options say now")
		flags.BoolVar(&c.redrive.stop, "stop", false, "end one that goes on")
	},
}

// redriveFlags are what channel redrive was told.
type redriveFlags struct {
	limit, rate int
	from        string
	stop        bool
}

// redrivePause is how often brokers are asked how far they are.
const redrivePause = 500 * time.Millisecond

// redrive begins or ends it on every broker, and follows it.
func redrive(c *call) error {
	if c.redrive.limit < 0 || c.redrive.rate < 0 {
		return appkit.Usagef("--limit and --rate must be 0 or more")
	}
	q := url.Values{"topic": {c.args[0]}, "channel": {c.args[1]}}
	for name, n := range map[string]int{"limit": c.redrive.limit, "rate": c.redrive.rate} {
		if n > 0 {
			q.Set(name, strconv.Itoa(n))
		}
	}
	if c.redrive.from != "" {
		q.Set("from", c.redrive.from)
	}
	if c.redrive.stop {
		q.Set("stop", "true")
	}
	brokers, failures := c.brokersOf(c.args[0])
	if err := c.do(failures, steps(brokers, "/channel/redrive?"+q.Encode())); err != nil || c.dryRun || c.redrive.stop || c.json {
		return err
	}
	var running []string
	for _, r := range c.results {
		if r.Result == resultOK {
			running = append(running, r.Address)
		}
	}
	return c.followRedrives(running)
}

// followRedrives tells how far brokers are, until all have ended.
func (c *call) followRedrives(running []string) error {
	said, failed := map[string]string{}, 0
	for len(running) > 0 {
		var on []string
		for _, node := range running {
			r, err := c.redriveOf(node)
			text := "its answer cannot be had"
			switch {
			case err != nil:
				failed++
				text += ": " + fleet.Explain(err)
			case r == nil:
				text = "no dead letters have come yet"
			default:
				if text = redriveText(r); r.Running {
					on = append(on, node)
				} else if r.Error != "" {
					failed++
				}
			}
			if said[node] != text {
				said[node] = text
				if err := c.say(node, text); err != nil {
					return err
				}
			}
		}
		if running = on; len(running) > 0 {
			if err := rest(c.ctx, redrivePause); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d brokers did not end well", failed, len(said))
	}
	return nil
}

// redriveOf returns what a broker says of its redrive, nil when it does not know the channel.
func (c *call) redriveOf(node string) (*httpapi.Redrive, error) {
	var stats httpapi.Stats
	if err := c.fleet.Get(c.ctx, node, query("/stats", c.args[0], c.args[1])+"&format=json&include_clients=false&include_mem=false", &stats); err != nil {
		return nil, err
	}
	for i := range stats.Topics {
		for k := range stats.Topics[i].Channels {
			return stats.Topics[i].Channels[k].Redrive, nil
		}
	}
	return nil, nil
}

func redriveText(r *httpapi.Redrive) string {
	text := fmt.Sprintf("%d sent back from %s", r.Moved, r.From)
	if r.InFlight > 0 {
		text += fmt.Sprintf(", %d stay with consumers there", r.InFlight)
	}
	switch {
	case r.Error != "":
		text += ": " + r.Error
	case r.Stopped:
		text += ", stopped"
	case !r.Running:
		text += ", done"
	}
	return text
}
