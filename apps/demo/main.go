package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == doomedCommand {
		exit(runDoomed(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // flag has said why
	}
	exit(run(ctx, s, os.Stdout))
}

// exit ends the process as err asks for.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// settings is what the user can choose.
type settings struct {
	binary      string // of brokerd
	source      string // folder; empty is the Go library's source
	producers   int
	consumers   int // per channel, at least 3
	maxInFlight int // per consumer, 1 to the broker's --max-rdy-count
}

func parse(args []string) (settings, error) {
	s := settings{binary: "brokerd"}
	if self, err := os.Executable(); err == nil {
		s.binary = filepath.Join(filepath.Dir(self), "brokerd")
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&s.binary, "brokerd", s.binary, "the broker's `binary`")
	flags.StringVar(&s.source, "source", "", "the `folder` whose files' lines are published (default the Go library's source)")
	flags.IntVar(&s.producers, "producers", 4, "how many producers publish")
	flags.IntVar(&s.consumers, "consumers", 3, "how many consumers each channel has, at least 3")
	flags.IntVar(&s.maxInFlight, "max-in-flight", 1000, "how many unanswered messages a consumer asks for, at most 2500")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.producers < 1:
		err = fmt.Errorf("-producers must be at least 1, not %d", s.producers)
	case s.consumers < 3:
		err = fmt.Errorf("-consumers must be at least 3, not %d", s.consumers)
	case s.maxInFlight < 1 || s.maxInFlight > 2500:
		err = fmt.Errorf("-max-in-flight must be 1 to 2500, not %d", s.maxInFlight)
	}
	if err != nil {
		fmt.Fprintln(flags.Output(), "demo:", err)
	}
	return s, err
}

const topic = "lines"

var channels = []string{"archive", "index"}

// run is the demo. It returns nil only if every channel finished exactly what was published.
func run(ctx context.Context, s settings, out io.Writer) error {
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
	b, err := startBroker(ctx, s.binary)
	if err != nil {
		return err
	}
	defer b.discard()
	fmt.Fprintf(out, "Started %s: tcp %s, http://%s/stats\n", s.binary, b.TCP, b.HTTP)
	fmt.Fprintf(out, "%d producers; channels %q with %d consumers each, of which one requeues a message in %d\n"+
		"and one is killed half-way.\n\n", s.producers, channels, s.consumers, requeueOneIn)
	r, err := pass(ctx, s, src, b, out)
	if err != nil {
		return err
	}
	if err := b.stop(); err != nil {
		return err
	}
	r.write(out)
	return r.verdict()
}

// pass sends the lines through the broker until nothing is left in it.
func pass(ctx context.Context, s settings, src source, b *broker, out io.Writer) (*report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := b.create(ctx, topic, channels); err != nil {
		return nil, err
	}
	r := &report{source: src, published: new(published), start: time.Now()}
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
