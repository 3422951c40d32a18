package demo

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"brokerd/apps/appkit"
	"brokerd/cmd/child"
)

// Command is the demo.
var Command = appkit.Command{
	Name:    "demo",
	Summary: "show the life of messages in a broker of its own, and count",
	Help: `Shows on a terminal where messages are while they go through a broker, and the life of one of them: published, delivered, given back,
delivered again, finished. Nothing of it is made up. Starts a brokerd of its own on free ports and an empty temporary folder, publishes every line of every file of the Go library's
source, or of --source, and consumes them in two channels, in each of which a consumer requeues one message in a hundred
and another is killed half-way. Then two channels come late: one reads all of it again from the beginning, the other what came from a time on.
The exit code is 0 only if each channel finished exactly what was published, or was published from then on.`,
	Example: "brokerctl demo\nbrokerctl demo --source=/usr/share/doc",
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		s := newSettings(flags)
		return func(ctx context.Context, env *appkit.Env) error {
			if err := s.check(); err != nil {
				return err
			}
			return run(ctx, *s, env.Stdout, viewOf(env))
		}
	},
}

// Doomed is the consumer that the demo starts as a process of its own, to kill it.
var Doomed = appkit.Command{
	Name: doomedCommand, Summary: "the demo's consumer that is to be killed", Args: "ADDRESS TOPIC CHANNEL MAX-IN-FLIGHT", Hidden: true, Alone: true,
	Setup: func(*flag.FlagSet) appkit.RunFunc {
		return func(_ context.Context, env *appkit.Env) error { return runDoomed(env.Args) }
	},
}

// settings is what the user can choose.
type settings struct {
	binary      string // of brokerd; empty is the one beside this program
	source      string // folder; empty is the Go library's source
	producers   int
	consumers   int // per channel, at least 3
	maxInFlight int // per consumer, 1 to the broker's --max-rdy-count
}

func newSettings(flags *flag.FlagSet) *settings {
	s := &settings{}
	flags.StringVar(&s.binary, "brokerd", "", "the broker's `binary` (default the one beside brokerctl)")
	flags.StringVar(&s.source, "source", "", "the `folder` whose files' lines are published (default the Go library's source)")
	flags.IntVar(&s.producers, "producers", 4, "how many producers publish")
	flags.IntVar(&s.consumers, "consumers", 3, "how many consumers each channel has, at least 3")
	flags.IntVar(&s.maxInFlight, "max-in-flight", 1000, "how many unanswered messages a consumer asks for, at most 2500")
	return s
}

func (s *settings) check() error {
	switch {
	case s.producers < 1:
		return appkit.Usagef("--producers must be at least 1, not %d", s.producers)
	case s.consumers < 3:
		return appkit.Usagef("--consumers must be at least 3, not %d", s.consumers)
	case s.maxInFlight < 1 || s.maxInFlight > 2500:
		return appkit.Usagef("--max-in-flight must be 1 to 2500, not %d", s.maxInFlight)
	}
	return nil
}

const topic = "lines"

var channels = []string{"archive", "index"}

// run is the demo. It returns nil only if every channel finished exactly what was published.
func run(ctx context.Context, s settings, out io.Writer, v *view) error {
	if s.source == "" {
		var err error
		if s.source, err = goSource(ctx); err != nil {
			return err
		}
	}
	src, err := survey(s.source)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s has %s lines in %s files.\n", s.source, grouped(src.lines), grouped(len(src.files)))
	if s.binary == "" {
		s.binary = child.Beside("brokerd")
	}
	b, err := startBroker(ctx, s.binary)
	if err != nil {
		return err
	}
	defer b.discard()
	fmt.Fprintf(out, "Started %s: tcp %s, http://%s/stats\n", s.binary, b.TCP, b.HTTP)
	fmt.Fprintf(out, "%d producers; channels %q with %d consumers each, of which one requeues\n"+
		"a message in %d, and one is killed half-way.\n\n", s.producers, channels, s.consumers, requeueOneIn)
	r, err := pass(ctx, s, src, b, out, v)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nSecond act: all of it is finished, and the topic keeps it. Two channels come late and read it again.\n")
	for _, p := range replays(r.crews[0].tally, r.published.result()) {
		if err := p.run(ctx, s, b, out, v); err != nil {
			return err
		}
		r.replays = append(r.replays, p)
	}
	if err := b.stop(); err != nil {
		return err
	}
	r.write(out)
	writeReplays(out, r.replays)
	return r.verdict()
}

// pass sends the lines through the broker until nothing is left in it.
func pass(ctx context.Context, s settings, src source, b *broker, out io.Writer, v *view) (*report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := b.create(ctx, topic, channels); err != nil {
		return nil, err
	}
	r := &report{source: src, published: new(published), start: time.Now(), view: v}
	for _, channel := range channels {
		c, err := enlist(b.TCP, topic, channel, s.consumers, s.maxInFlight, src.lines)
		if err != nil {
			return nil, err
		}
		defer c.dismiss()
		r.crews = append(r.crews, c)
	}
	publishing := make(chan struct{})
	go func() {
		defer close(publishing)
		if err := r.published.publish(ctx, src, b.TCP, topic, s.producers); err != nil {
			cancel(err)
		}
		r.publishing = time.Since(r.start)
	}()
	err := r.watch(ctx, b, publishing, out)
	cancel(err)
	<-publishing
	if err != nil {
		return nil, err
	}
	for _, c := range r.crews {
		<-c.doomed.done // it was killed long ago
		if c.doomed.err != nil {
			return nil, c.doomed.err
		}
	}
	return r, nil
}

// viewOf returns what is drawn on the terminal, nil where there is none.
func viewOf(env *appkit.Env) *view {
	width, height := env.Size()
	if width == 0 {
		return nil
	}
	return &view{out: env.Stdout, width: width, height: height, bold: env.Bold}
}
