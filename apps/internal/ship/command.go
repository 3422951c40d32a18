package ship

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"brokerd/apps/appkit"
)

// Command follows log files.
var Command = appkit.Command{
	Name:    "ship",
	Summary: "follow log files and publish their lines",
	Help: `Follows files as tail -F does and publishes each line, or several lines joined by a pattern, to a topic of a broker. Patterns
are looked for again and again, so that new files are found. Rotation by renaming and by copying and truncating loses nothing; in
the second case the patterns must not match the copies.

How far each file was published stands in --state-file, written after the broker's acknowledgement. A start goes on there; after a
kill it repeats what was acknowledged last, one batch at most. While the broker is away ship waits.

Empty lines are left out, as brokers refuse empty messages. Lines longer than --max-message-bytes become several messages.`,
	Example: `brokerctl ship --topic=logs --state-file=/var/lib/ship/state '/var/log/app/*.log'
brokerctl ship --topic=java --multiline-start='^[0-9]{4}-' --exclude='*.gz' /var/log/java/*.log`,
	Args:     "[PATTERN...]",
	Progress: true,
	Service:  true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		return newOptions(flags).run
	},
}

const (
	fromStart = "start"
	fromEnd   = "end"
)

// options are the flags.
type options struct {
	producer             *appkit.ProducerFlags
	broker, topic        string
	paths, exclude       appkit.Strings
	stateFile            string
	from                 string
	poll                 time.Duration
	rotateWait, joinWait time.Duration
	multilineStart       string
	multilineContinue    string
	maxMessage           int // bytes
	batch, batchBytes    int
	rate                 int
	once                 bool

	patterns         []string // absolute
	start, continues *regexp.Regexp
}

func newOptions(flags *flag.FlagSet) *options {
	o := &options{producer: appkit.AddProducerFlags(flags)}
	flags.StringVar(&o.broker, "nsqd-tcp-address", "127.0.0.1:4150", "TCP `address` of the broker, which should be on the same machine")
	flags.StringVar(&o.topic, "topic", "", "the `topic` to publish to")
	flags.Var(&o.paths, "path", "a file, or a `pattern` with *, ? and [...], as the arguments are")
	flags.Var(&o.exclude, "exclude", "leave out files whose name or path matches the `pattern`")
	flags.StringVar(&o.stateFile, "state-file", "ship.state", "the `file` for how far each file was published")
	flags.StringVar(&o.from, "from", fromStart, "where the first start of all begins in files that are there: start or end")
	flags.DurationVar(&o.poll, "poll-interval", 200*time.Millisecond, "how often to look at the files")
	flags.DurationVar(&o.rotateWait, "rotate-wait", 5*time.Second, "how long a file that was rotated away must be quiet until it is done with")
	flags.StringVar(&o.multilineStart, "multiline-start", "", "a line that matches the `regexp` begins a message, others belong to the one before")
	flags.StringVar(&o.multilineContinue, "multiline-continue", "", "a line that matches the `regexp` belongs to the message before it, others begin one")
	flags.DurationVar(&o.joinWait, "multiline-timeout", 2*time.Second, "how long a joined message waits for another line")
	flags.IntVar(&o.maxMessage, "max-message-bytes", 1<<20, "publish lines with more `bytes` in several messages; brokers take 1 MiB by default")
	flags.IntVar(&o.batch, "batch", 2000, "publish at most so many messages at once")
	flags.IntVar(&o.batchBytes, "batch-bytes", 1<<20, "publish at most so many `bytes` at once, unless a single message has more")
	flags.IntVar(&o.rate, "rate", 0, "publish at most so many messages a second; 0 is no limit")
	flags.BoolVar(&o.once, "once", false, "publish what there is, incomplete lines as well, and end")
	return o
}

// check validates the flags and resolves the patterns.
func (o *options) check(args []string) error {
	switch {
	case o.topic == "":
		return appkit.Usagef("--topic required")
	case len(o.paths)+len(args) == 0:
		return appkit.Usagef("--path or an argument required: which files to follow")
	case o.from != fromStart && o.from != fromEnd:
		return appkit.Usagef("--from must be %s or %s, not %q", fromStart, fromEnd, o.from)
	case o.multilineStart != "" && o.multilineContinue != "":
		return appkit.Usagef("use --multiline-start or --multiline-continue not both")
	case o.maxMessage < 1 || o.batch < 1 || o.batchBytes < 1:
		return appkit.Usagef("--max-message-bytes, --batch and --batch-bytes must be at least 1")
	case o.poll <= 0 || o.rotateWait < 0 || o.joinWait < 0 || o.rate < 0:
		return appkit.Usagef("--poll-interval should be positive, --rotate-wait, --multiline-timeout and --rate not negative")
	}
	if err := appkit.CheckNames(o.topic, ""); err != nil {
		return err
	}
	for _, pattern := range append(append([]string{}, o.paths...), args...) {
		absolute, err := filepath.Abs(pattern)
		if err != nil {
			return err
		}
		o.patterns = append(o.patterns, absolute)
	}
	for _, pattern := range append(append([]string{}, o.patterns...), o.exclude...) {
		if _, err := filepath.Match(pattern, ""); err != nil {
			return appkit.Usagef("the pattern %q: %w", pattern, err)
		}
	}
	var err error
	if o.stateFile, err = filepath.Abs(o.stateFile); err != nil {
		return err
	}
	if o.start, err = compile(o.multilineStart); err != nil {
		return appkit.Usagef("--multiline-start: %w", err)
	}
	if o.continues, err = compile(o.multilineContinue); err != nil {
		return appkit.Usagef("--multiline-continue: %w", err)
	}
	return nil
}

func compile(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	return regexp.Compile(text)
}

// run is the command's work.
func (o *options) run(ctx context.Context, env *appkit.Env) (err error) {
	if err := o.check(env.Args); err != nil {
		return err
	}
	config, err := o.producer.Config(env)
	if err != nil {
		return err
	}
	keeper, s, existed, err := openState(o.stateFile)
	if err != nil {
		return err
	}
	t := newTracker(o, env.Log)
	defer func() { err = errors.Join(err, t.close(), keeper.close()) }()
	if existed {
		t.resume(s)
	}
	t.look(!existed)
	p := &pump{
		options: o, tracker: t, keeper: keeper, log: env.Log,
		publisher: appkit.NewPublisher(o.broker, config, env.Log), limiter: appkit.NewLimiter(o.rate), progress: env.Progress("messages", nil),
	}
	if o.rate > 0 {
		o.batch = max(1, min(o.batch, o.rate/20)) // so that they leave evenly
	}
	defer p.progress.Stop()
	defer p.publisher.Close()
	return o.pumpAndLook(ctx, t, p)
}

// pumpAndLook looks at the files each poll interval while the pump runs.
func (o *options) pumpAndLook(ctx context.Context, t *tracker, p *pump) error {
	looked := make(chan struct{}, 1)
	looking, stop := context.WithCancel(ctx)
	var join sync.WaitGroup
	join.Go(func() {
		for appkit.Sleep(looking, o.poll) == nil {
			t.look(false)
			select {
			case looked <- struct{}{}:
			default:
			}
		}
	})
	err := p.run(ctx, looked)
	stop()
	join.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// excluded reports whether a file's name or path matches one of --exclude, or it is one of the tool's own.
func (o *options) excluded(path string) bool {
	if suffix, mine := strings.CutPrefix(path, o.stateFile); mine && (suffix == "" || suffix == ".lock" || suffix == ".new") {
		return true
	}
	return slices.ContainsFunc(o.exclude, func(pattern string) bool {
		name, _ := filepath.Match(pattern, filepath.Base(path)) // the patterns are good
		whole, _ := filepath.Match(pattern, path)
		return name || whole
	})
}
