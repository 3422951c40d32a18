package democluster

import (
	"fmt"
	"io"
	"strings"
	"time"

	"brokerd/apps/appkit"
)

// tellEvery is how often a line of progress is printed where it is no terminal that shows each look.
const tellEvery = 5 * time.Second

// screen shows what happens as lines, and below them how things stand, written over again and again where it is a terminal.
type screen struct {
	out   io.Writer
	width int                 // 0: it is no terminal
	bold  func(string) string // nil: as it is
	drawn int                 // lines of the last frame
	told  time.Time
}

// event prints a line that stays.
func (s *screen) event(format string, args ...any) {
	fmt.Fprintf(s.out, s.over()+format+"\n", args...)
	s.drawn = 0
}

// over returns what takes the last frame away.
func (s *screen) over() string {
	if s.drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", s.drawn)
}

// frame shows how things stand. Where it is no terminal only its first line is printed, now and then.
func (s *screen) frame(lines []string, now time.Time) {
	if s.width == 0 {
		if now.Sub(s.told) >= tellEvery {
			s.told = now
			fmt.Fprintln(s.out, lines[0])
		}
		return
	}
	var b strings.Builder
	b.WriteString(s.over())
	for i, line := range lines {
		line = appkit.Shorten(line, s.width)
		if i == 0 && s.bold != nil {
			line = s.bold(line)
		}
		b.WriteString(line + "\n")
	}
	s.drawn = len(lines)
	_, _ = io.WriteString(s.out, b.String()) // a terminal that is gone ends the demo by its signal
}

// line is the counts.
func (c counts) line(since time.Duration) string {
	n := func(n int) string { return appkit.Grouped(int64(n)) }
	text := fmt.Sprintf("%4.0f s   acknowledged %s   finished %s   open %s   lost %s   duplicated %s   refused %s", since.Seconds(), n(c.acked), n(c.finished), n(c.open),
		n(c.lost), n(c.again), n(c.refused))
	if c.strange > 0 {
		text += "   never sent " + n(c.strange)
	}
	return text
}

// seconds writes a time to be read by people, and a dash where there is none.
func seconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
