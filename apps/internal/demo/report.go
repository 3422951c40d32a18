package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"brokerd/apps/appkit"
	"brokerd/protocol/httpapi"
)

const (
	lookEvery = 100 * time.Millisecond // at the broker's figures
	tellEvery = 5 * time.Second        // a line of progress, where it is not a terminal that shows each look
)

// patience is how long nothing may move. Tests wait longer.
var patience = 30 * time.Second

// report is what is known of a pass, while it runs and afterwards.
type report struct {
	source     source
	published  *published
	crews      []*crew
	view       *view // nil where it is no terminal
	start      time.Time
	publishing time.Duration // until the last line was acknowledged
	elapsed    time.Duration // until the last message was finished
	broker     httpapi.Topic // the broker's own figures at the end
	replays    []*replay     // of the second act
}

// watch shows the progress until everything is published and the broker has nothing left. It returns an error when ctx
// ends, when the broker ends, or when nothing moves any more.
func (r *report) watch(ctx context.Context, b *broker, publishing <-chan struct{}, out io.Writer) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var last progress
	moved, told := time.Now(), time.Now()
	for {
		if err := b.awaitLook(ctx, look.C); err != nil {
			return err
		}
		allPublished := isClosed(publishing) // before the broker is asked, so that its figures hold everything
		figures, err := b.stats(ctx, topic)
		if err != nil {
			return err
		}
		now := r.progress(figures)
		if now != last {
			last, moved = now, time.Now()
		}
		done := allPublished && now.left == 0
		switch {
		case r.view != nil && r.view.fits():
			r.view.draw(r, now, figures)
		case r.view != nil: // over the line before
			fmt.Fprintf(out, "\r\x1b[K%s", appkit.Shorten(now.line(r), r.view.width))
		case done, time.Since(told) >= tellEvery:
			told = time.Now()
			fmt.Fprintln(out, now.line(r))
		}
		if done {
			fmt.Fprintln(out)
			r.elapsed, r.broker = time.Since(r.start), figures
			return nil
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("nothing moved for %v: %s", patience, now.line(r))
		}
	}
}

// progress is how far the pass is.
type progress struct {
	published int64
	finished  int64 // in all channels
	left      int64 // in the broker: waiting, deferred or in flight, in all channels
}

func (r *report) progress(figures httpapi.Topic) progress {
	p := progress{published: r.published.messages.Load(), left: figures.Depth}
	for _, c := range figures.Channels {
		p.left += c.Depth + int64(c.InFlightCount+c.DeferredCount)
	}
	for _, c := range r.crews {
		p.finished += c.finished()
	}
	return p
}

func (p progress) line(r *report) string {
	total := int64(r.source.lines)
	return fmt.Sprintf("%4.0f s   published %s (%d %%)   finished %s (%d %%)   in the broker %s",
		time.Since(r.start).Seconds(), grouped(p.published), 100*p.published/total,
		grouped(p.finished), 100*p.finished/total/int64(len(r.crews)), grouped(p.left))
}

// write shows the result.
func (r *report) write(out io.Writer) {
	published, finished := r.published.result(), 0
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "channel\tpublished\tdelivered\trequeued\tback from the killed\ttimed out\tfinished lines\tequal\t")
	for _, c := range r.crews {
		f := r.figures(c.channel)
		lines, again, _ := c.tally.result()
		finished += lines.count
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", c.channel, grouped(f.MessageCount),
			grouped(uint64(lines.count+again)+f.RequeueCount+f.DisconnectRequeueCount+f.TimeoutCount), grouped(f.RequeueCount),
			grouped(f.DisconnectRequeueCount), grouped(f.TimeoutCount), grouped(lines.count), yesNo(lines == published))
	}
	table.Flush()
	fmt.Fprintf(out, "\nPublished %s lines in %.1f s: %s messages per second.\n", grouped(published.count),
		r.publishing.Seconds(), grouped(perSecond(published.count, r.publishing)))
	fmt.Fprintf(out, "Finished %s messages in %.1f s: %s messages per second.\n", grouped(finished),
		r.elapsed.Seconds(), grouped(perSecond(finished, r.elapsed)))
}

// figures returns the broker's own figures of a channel.
func (r *report) figures(channel string) httpapi.Channel {
	return figuresOf(r.broker, channel)
}

// verdict returns an error that names everything that is not as it must be.
func (r *report) verdict() error {
	var wrong []error
	published := r.published.result()
	if published.count != r.source.lines {
		wrong = append(wrong, fmt.Errorf("published %d lines of %d", published.count, r.source.lines))
	}
	if r.broker.MessageCount != uint64(published.count) {
		wrong = append(wrong, fmt.Errorf("the broker counts %d messages, the producers %d", r.broker.MessageCount, published.count))
	}
	for _, c := range r.crews {
		lines, _, changed := c.tally.result()
		if lines != published {
			wrong = append(wrong, fmt.Errorf("channel %s finished other lines than were published: %d, not %d",
				c.channel, lines.count, published.count))
		}
		if changed > 0 {
			wrong = append(wrong, fmt.Errorf("channel %s delivered %d messages with different bodies", c.channel, changed))
		}
	}
	for _, p := range r.replays {
		if err := p.verdict(); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

func perSecond(n int, d time.Duration) int { return int(float64(n) / d.Seconds()) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// grouped writes a number with commas between thousands.
func grouped[N int | int64 | uint64](n N) string {
	digits := fmt.Sprint(n)
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, groups...), ",")
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
