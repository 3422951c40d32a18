package stat

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
)

// view shows one round; failures are told of by the caller unless live says that the view does.
type view interface {
	show(now time.Time, rows []Row, failures []fleet.Failure) error
	live() bool
}

// jsonView prints an object of each row.
type jsonView struct{ encoder *json.Encoder }

func (v jsonView) live() bool { return false }

func (v jsonView) show(_ time.Time, rows []Row, _ []fleet.Failure) error {
	for _, r := range rows {
		if err := v.encoder.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// nsqStatView prints nsq_stat's lines.
type nsqStatView struct {
	out   io.Writer
	lines int
}

func (v *nsqStatView) live() bool { return false }

func (v *nsqStatView) show(_ time.Time, rows []Row, _ []fleet.Failure) error {
	for _, r := range rows {
		if r.Channel == "" {
			continue
		}
		text := nsqStatLine(r)
		if v.lines%headerEvery == 0 {
			text = nsqStatHeader + text
		}
		v.lines++
		if _, err := io.WriteString(v.out, text); err != nil {
			return err
		}
	}
	return nil
}

// tableView prints tables, in place when it knows the size of a terminal.
type tableView struct {
	out      io.Writer
	order    func(a, b Row) int
	size     func() (width, height int) // nil where it is no terminal
	interval time.Duration
}

func (v *tableView) live() bool { return v.size != nil }

func (v *tableView) show(now time.Time, rows []Row, failures []fleet.Failure) error {
	var b strings.Builder
	limit, width := 0, 0
	if v.size != nil {
		b.WriteString("\x1b[H\x1b[2J")
		if w, height := v.size(); w > 0 {
			limit, width = max(height-len(failures)-2, 3), w
		}
	}
	fmt.Fprintf(&b, "%s\n", now.Format("2006-01-02 15:04:05"))
	for _, line := range table(rows, v.order, limit, width) {
		b.WriteString(line + "\n")
	}
	if v.size != nil {
		for _, failure := range failures {
			text := "WARNING: " + failure.Error()
			if width > 0 {
				text = appkit.Shorten(text, width)
			}
			b.WriteString(text + "\n")
		}
	} else {
		b.WriteByte('\n')
	}
	_, err := io.WriteString(v.out, b.String())
	return err
}
