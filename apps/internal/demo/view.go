package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/protocol/httpapi"
)

// view shows a pass on a terminal while it runs: where messages are, and the life of one. Each frame is written over the one before.
type view struct {
	out    io.Writer
	width  int
	height int
	bold   func(string) string
	drawn  int // lines of the last frame
}

// fits reports whether the terminal has room for it.
func (v *view) fits() bool { return v.width >= 40 && v.height >= frameLines }

// frameLines is how many lines a frame has at most.
const frameLines = 21

// draw writes a frame over the one before.
func (v *view) draw(r *report, p progress, figures httpapi.Topic) {
	lines := frame(r, p, figures, v.width, v.bold, time.Now())
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, line := range lines {
		b.WriteString("\x1b[K" + line + "\n")
	}
	b.WriteString("\x1b[J")
	v.drawn = len(lines)
	_, _ = io.WriteString(v.out, b.String()) // a terminal that is gone ends the demo by its signal
}

// frame returns the lines of a frame, none longer than the width.
func frame(r *report, p progress, figures httpapi.Topic, width int, bold func(string) string, now time.Time) (lines []string) {
	add := func(format string, args ...any) {
		lines = append(lines, appkit.Shorten(fmt.Sprintf(format, args...), width))
	}
	head := func(format string, args ...any) {
		lines = append(lines, bold(appkit.Shorten(fmt.Sprintf(format, args...), width)))
	}
	total := int64(r.source.lines)
	add("%3.0f s  producers publish lines of source code to one topic; each of its channels gets a copy of every message", now.Sub(r.start).Seconds())
	add("")
	head("topic %s", topic)
	add("  published  %11s  %s", grouped(p.published), bar(p.published, total, width-28))
	for _, c := range r.crews {
		f := figuresOf(figures, c.channel)
		lines = append(lines, "")
		head("channel %s, %d consumers%s", c.channel, f.ClientCount, c.killed())
		for _, place := range []struct {
			name string
			n    int64
		}{{"waiting", f.Depth}, {"in flight", int64(f.InFlightCount)}, {"deferred", int64(f.DeferredCount)}, {"finished", c.finished()}} {
			if len(r.crews) > 1 && c != r.crews[0] && place.name != "finished" {
				continue // a screen has 24 lines: the other channels' places are like the first's
			}
			add("  %-9s  %11s  %s", place.name, grouped(place.n), bar(place.n, total, width-28))
		}
	}
	lines = append(lines, "")
	tale, ok := r.crews[0].story.shown()
	if !ok {
		head("the life of one message")
		add("  waiting for one that a consumer gives back")
		return lines
	}
	head("the life of message %s: %q", tale.ID, tale.Body)
	for _, e := range tale.Events {
		add("  %9.3f s  %s", e.at.Sub(tale.Published).Seconds(), e.text)
	}
	return lines
}

// bar is as long as n is of total, in so many columns.
func bar(n, total int64, width int) string {
	if width < 1 || total < 1 || n < 1 {
		return ""
	}
	width = min(width, 60)
	return strings.Repeat("#", int(max(1, min(n, total)*int64(width)/total)))
}

// figuresOf returns the figures of a channel.
func figuresOf(t httpapi.Topic, channel string) httpapi.Channel {
	for _, c := range t.Channels {
		if c.ChannelName == channel {
			return c
		}
	}
	return httpapi.Channel{}
}
