package policy

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// errValue is a value that cannot be; what is allowed, the option knows.
var errValue = errors.New("not allowed")

type must string

func (m must) Error() string { return string(m) }

// ParseDuration reads a time in Go's form, as 1h30m, or a whole number of days, as 7d. It must not be negative.
func ParseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errValue
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errValue
	}
	return d, nil
}

// FormatDuration returns a time as ParseDuration reads it, without parts that are 0.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

var byteUnits = []struct {
	suffix string
	shift  uint
}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

const bytesAllowed must = "must be a number of bytes, or a text as 10GiB with KiB, MiB, GiB or TiB"

// parseBytes takes a number of bytes, or a text with a unit.
func parseBytes(raw json.RawMessage) (any, error) {
	const allowed = bytesAllowed
	var n int64
	if err := json.Unmarshal(raw, &n); err == nil && string(raw) != "null" {
		if n < 0 || n > maxNumber {
			return nil, allowed
		}
		return n, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || string(raw) == "null" {
		return nil, allowed
	}
	shift := uint(0)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, shift = strings.TrimSpace(rest), u.shift
			break
		}
	}
	u, err := strconv.ParseUint(text, 10, 63)
	if err != nil || u > maxNumber>>shift {
		return nil, allowed
	}
	return int64(u << shift), nil
}

// Backoff is how long a message waits before it is delivered again, by how often it was delivered.
type Backoff struct {
	steps    []time.Duration // for delivery 1, 2, ...; the last one for all after it. Empty: exponential
	from, to time.Duration
}

const (
	minBackoff   = time.Millisecond
	maxBackoff   = 24 * time.Hour
	backoffSteps = 64
)

// ParseBackoff reads fixed:5s, list:1s,10s,1m or exponential:1s..15m. An empty text is none: nil.
func ParseBackoff(text string) (*Backoff, error) {
	if text == "" {
		return nil, nil
	}
	way, rest, _ := strings.Cut(text, ":")
	var parts []string
	switch way {
	case "fixed":
		parts = []string{rest}
	case "list":
		parts = strings.Split(rest, ",")
	case "exponential":
		from, to, ok := strings.Cut(rest, "..")
		if !ok {
			return nil, errValue
		}
		parts = []string{from, to}
	default:
		return nil, errValue
	}
	if len(parts) > backoffSteps {
		return nil, errValue
	}
	steps := make([]time.Duration, len(parts))
	for i, part := range parts {
		d, err := ParseDuration(part)
		if err != nil || d < minBackoff || d > maxBackoff {
			return nil, errValue
		}
		steps[i] = d
	}
	if way != "exponential" {
		return &Backoff{steps: steps}, nil
	}
	if steps[0] > steps[1] {
		return nil, errValue
	}
	return &Backoff{from: steps[0], to: steps[1]}, nil
}

// Delay returns how long a message waits that was delivered so often, 1 or more. An exponential one is at random between half of what
// doubling gives and all of it, so that messages that failed together do not all come together.
func (b *Backoff) Delay(attempts uint16) time.Duration {
	n := max(int(attempts), 1) - 1
	if len(b.steps) > 0 {
		return b.steps[min(n, len(b.steps)-1)]
	}
	d := b.to
	if n < 40 && b.from<<n>>n == b.from {
		d = min(d, b.from<<n)
	}
	return d - time.Duration(rand.Int64N(int64(d)/2+1))
}

// Longest returns the longest time that a message waits.
func (b *Backoff) Longest() (d time.Duration) {
	d = b.to
	for _, step := range b.steps {
		d = max(d, step)
	}
	return d
}

// ParseTTL reads the ttl of one message.
func ParseTTL(text string) (time.Duration, error) {
	d, err := ParseDuration(text)
	if err != nil || d < time.Millisecond || d > year {
		return 0, must("must be a time from 1ms to 365d, as 30s, 12h or 7d")
	}
	return d, nil
}
