package stat

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"slices"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
)

// Command is brokerd's nsq_stat.
var Command = appkit.Command{
	Name:    "stat",
	NSQ:     "nsq_stat",
	Summary: "show what goes through topics and channels",
	Help: `Asks brokers for their figures again and again and shows the sums: what waits in memory and on disk, what is in flight and
deferred, what comes and is finished each second, and how often messages were requeued or timed out.
Without --topic and --channel it is a table of everything, which stays in place on a terminal.
A broker that does not answer is a warning; the sums are without it then.`,
	Args: "[TOPIC/CHANNEL]",
	Example: `brokerctl stat --lookupd-http-address=127.0.0.1:4161
brokerctl stat --nsqd-http-address=127.0.0.1:4151 --sort=depth --interval=5s
brokerctl stat --topic=orders --channel=billing --lookupd-http-address=127.0.0.1:4161
brokerctl stat --nsqd-http-address=127.0.0.1:4151 --count=1 --json | jq 'select(.depth > 1000)'`,
	OneKind: true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		return newOptions(flags).run
	},
}

// options is what the flags say.
type options struct {
	http             *appkit.HTTPFlags
	brokers, lookups appkit.Strings
	topic, channel   string
	interval         time.Duration
	rounds           int // 0 is without end
	json             bool
	sort             string
}

func newOptions(flags *flag.FlagSet) *options {
	o := &options{http: appkit.AddHTTPFlags(flags, 2*time.Second, 5*time.Second)}
	flags.Var(&o.brokers, "nsqd-http-address", "HTTP `address` of a broker")
	flags.Var(&o.lookups, "lookupd-http-address", "HTTP `address` of a lookup that tells which brokers there are")
	flags.StringVar(&o.topic, "topic", "", "`name` of the only topic to show")
	flags.StringVar(&o.channel, "channel", "", "`name` of the only channel to show")
	flags.DurationVar(&o.interval, "interval", 2*time.Second, "how often to ask")
	flags.IntVar(&o.rounds, "count", 0, "how many times to print; 0 never ends")
	flags.BoolVar(&o.json, "json", false, "print a JSON object of each row")
	flags.StringVar(&o.sort, "sort", "name", "order of the table: "+strings.Join(slices.Sorted(maps.Keys(orders)), ", "))
	return o
}

// take reads what stands behind the flags.
func (o *options) take(args []string) error {
	if len(args) == 0 {
		return nil
	}
	if o.topic != "" {
		return appkit.Usagef("use --topic or an argument not both")
	}
	o.topic, o.channel = appkit.SplitTopic(args[0], o.channel)
	return appkit.CheckNames(o.topic, o.channel)
}

func (o *options) check() error {
	switch {
	case len(o.brokers) == 0 && len(o.lookups) == 0:
		return appkit.Nowhere("--nsqd-http-address or --lookupd-http-address required")
	case len(o.brokers) > 0 && len(o.lookups) > 0:
		return appkit.Usagef("use --nsqd-http-address or --lookupd-http-address not both")
	case o.interval <= 0:
		return appkit.Usagef("--interval should be positive")
	case o.rounds < 0:
		return appkit.Usagef("--count should be positive")
	case o.channel != "" && o.topic == "":
		return appkit.Usagef("--channel needs --topic")
	case orders[o.sort] == nil:
		return appkit.Usagef("--sort must be one of %s, not %q", strings.Join(slices.Sorted(maps.Keys(orders)), ", "), o.sort)
	}
	return o.http.Check()
}

// run asks and prints until ctx is done or there were as many rounds as were asked for.
func (o *options) run(ctx context.Context, env *appkit.Env) error {
	if err := errors.Join(o.take(env.Args), o.check()); err != nil {
		return err
	}
	f := fleet.New(o.http.Client(env), o.brokers, o.lookups)
	defer f.Close()
	w := &watch{options: o, fleet: f, env: env, show: o.view(env), silent: make(map[string]bool)}
	return w.run(ctx)
}

// view chooses how rows are shown.
func (o *options) view(env *appkit.Env) view {
	switch {
	case o.json:
		return jsonView{json.NewEncoder(env.Stdout)}
	case o.channel != "":
		return &nsqStatView{out: env.Stdout}
	}
	t := &tableView{out: env.Stdout, order: orders[o.sort]}
	if env.Width() > 0 {
		t.size, t.interval = env.Size, o.interval
	}
	return t
}
