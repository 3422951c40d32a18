package attention

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Name makes a name from elsewhere fit into a sentence: what would not be seen, or would turn around what is next to it, is written out.
func Name(name string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) && r != ' ' || unicode.Is(unicode.Cf, r) }
	if strings.IndexFunc(name, odd) >= 0 {
		var b strings.Builder
		for _, r := range name {
			if odd(r) {
				fmt.Fprintf(&b, "\\u%04X", r)
			} else {
				b.WriteRune(r)
			}
		}
		name = b.String()
	}
	const isolate, end = "\u2068", "\u2069" // what is written from right to left turns nothing around it
	if strings.IndexFunc(name, func(r rune) bool { return r > unicode.MaxLatin1 }) >= 0 {
		return isolate + name + end
	}
	return name
}

// list names some of many, and how many the rest is.
func list(names []string, most int, rest string) string {
	shown := make([]string, 0, most)
	for _, name := range names[:min(most, len(names))] {
		shown = append(shown, Name(name))
	}
	text := strings.Join(shown, ", ")
	if more := len(names) - most; more > 0 {
		text += " and " + Plural(int64(more), rest)
	}
	return text
}

// Plural is a number with the noun that goes with it.
func Plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return Number(n) + " " + noun
}

func wasOrWere(n int64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// Waiting says how many messages wait.
func Waiting(n int64) string {
	if n == 1 {
		return "1 message waits"
	}
	return Number(n) + " messages wait"
}

// Age is a duration in its two largest units: 42s, 3m 05s, 2h 10m, 4d 3h.
func Age(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd %dh", s/86400, s/3600%24)
}

// Number is a number with its thousands apart.
func Number(n int64) string {
	if n < 0 {
		return "-" + Number(-n)
	}
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Size is a number of bytes with a unit.
func Size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return strconv.FormatUint(n, 10) + " B"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i]
}
