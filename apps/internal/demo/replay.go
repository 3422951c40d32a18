package demo

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/appkit"
)

// The second act: everything was consumed, and two channels come late. One reads all of it from the beginning, the other what came from a time on.

// replay is one channel that comes late.
type replay struct {
	channel, place, about string
	want                  multiset // of the first act
	got                   multiset
	waited                int // messages, as the broker has said
	again, changed        int
	took                  time.Duration
}

// replays are the channels of the second act, of what a channel of the first one has finished.
func replays(first *tally, published multiset) []*replay {
	at := time.Unix(0, first.halfAt())
	return []*replay{
		{channel: "late", place: "beginning", about: "from the beginning", want: published},
		{channel: "later", place: at.UTC().Format(time.RFC3339Nano), about: "from " + at.Format("15:04:05.000") + " on", want: first.since(at.UnixNano())},
	}
}

// run has a channel begin at its place, and consumes it until nothing is left.
func (p *replay) run(ctx context.Context, s settings, b *broker, out io.Writer, v *view) (err error) {
	start := time.Now()
	if p.waited, err = b.createAt(ctx, topic, p.channel, p.place); err != nil {
		return err
	}
	t := newTally(p.want.count)
	var members []*nsq.Consumer
	defer func() {
		for _, c := range members {
			c.Stop()
		}
		for _, c := range members {
			<-c.StopChan
		}
	}()
	for i := range s.consumers {
		c, err := subscribe(b.TCP, topic, p.channel, s.maxInFlight, steady{fmt.Sprintf("consumer %d", i+1), t, nil})
		if err != nil {
			return err
		}
		members = append(members, c)
	}
	if err := p.watch(ctx, b, t, out, v); err != nil {
		return err
	}
	p.took = time.Since(start)
	p.got, p.again, p.changed = t.result()
	return nil
}

// watch shows the progress until the channel has nothing left.
func (p *replay) watch(ctx context.Context, b *broker, t *tally, out io.Writer, v *view) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	last, moved, told := -1, time.Now(), time.Now()
	for {
		if err := b.awaitLook(ctx, look.C); err != nil {
			return err
		}
		figures, err := b.stats(ctx, topic)
		if err != nil {
			return err
		}
		c := figuresOf(figures, p.channel)
		lines, _, _ := t.result()
		if lines.count != last {
			last, moved = lines.count, time.Now()
		}
		line := fmt.Sprintf("channel %s reads %s: %s of %s (%d %%)", p.channel, p.about, grouped(lines.count), grouped(p.want.count), 100*lines.count/max(1, p.want.count))
		done := c.Depth+int64(c.InFlightCount+c.DeferredCount) == 0
		switch {
		case v != nil:
			fmt.Fprintf(out, "\r\x1b[K%s", appkit.Shorten(line, v.width))
		case done, time.Since(told) >= tellEvery:
			told = time.Now()
			fmt.Fprintln(out, line)
		}
		if done {
			if v != nil {
				fmt.Fprintln(out)
			}
			return nil
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("nothing moved for %v: %s", patience, line)
		}
	}
}

// writeReplays shows the result of the second act.
func writeReplays(out io.Writer, list []*replay) {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\nchannel\treads\twaited there\tfinished lines\tmessages per second\tequal\t")
	for _, p := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t\n", p.channel, p.about, grouped(p.waited), grouped(p.got.count), grouped(perSecond(p.got.count, p.took)), yesNo(p.got == p.want))
	}
	table.Flush()
}

// verdict returns what is not as it must be, nil when nothing is.
func (p *replay) verdict() error {
	switch {
	case p.got != p.want:
		return fmt.Errorf("channel %s, which reads %s, finished other lines than were published: %d, not %d", p.channel, p.about, p.got.count, p.want.count)
	case p.waited != p.want.count:
		return fmt.Errorf("the broker says that %d messages wait on channel %s, and %d do", p.waited, p.channel, p.want.count)
	case p.changed > 0:
		return fmt.Errorf("channel %s delivered %d messages with different bodies", p.channel, p.changed)
	}
	return nil
}
