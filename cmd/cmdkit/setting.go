package cmdkit

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Setting is one thing that a daemon can be told.
//
// Value points at the variable that is set and that holds the default: *string, *bool, *int, *int64, *time.Duration,
// *[]string or a flag.Value. Two optional methods of a flag.Value are honoured: IsBoolFlag() bool, for a flag that may
// stand bare, and Reset(), which marks a list and empties it before the values of one source are Set one by one. The
// error of a flag.Value's Set says what is allowed ("must be true, false or tcp-https").
type Setting struct {
	Name  string // of the flag, without dashes
	Key   string // in the file; empty: the name with - turned to _
	Group string // heading in the help
	Help  string
	Value any

	// EmptyCounts is for text whose being empty says something, such as "off": then a flag or the file may say that.
	// Everywhere else, and always in the environment, an empty value is none, and the next source is asked.
	EmptyCounts bool
	Reload      bool // a reload changes it while the daemon runs
	Idle        bool // accepted for NSQ's scripts, without effect: who sets it is told so
}

func (s Setting) key() string {
	if s.Key != "" {
		return s.Key
	}
	return strings.ReplaceAll(s.Name, "-", "_")
}

// isBool reports whether the flag may stand without a value.
func (s Setting) isBool() bool {
	switch v := s.Value.(type) {
	case *bool:
		return true
	case interface{ IsBoolFlag() bool }:
		return v.IsBoolFlag()
	}
	return false
}

// isList reports whether one source may give several values.
func (s Setting) isList() bool {
	switch s.Value.(type) {
	case *[]string, interface{ Reset() }:
		return true
	}
	return false
}

// assign sets the variable to what one source says.
func (s Setting) assign(texts []string) error {
	s.reset()
	for _, text := range texts {
		if err := s.set(text); err != nil {
			return fmt.Errorf("--%s %w, not %q", s.Name, err, text)
		}
	}
	return nil
}

// reset empties a list, so that a source replaces it instead of adding to it.
func (s Setting) reset() {
	switch v := s.Value.(type) {
	case *[]string:
		*v = nil
	case interface{ Reset() }:
		v.Reset()
	}
}

var (
	errBool     = errors.New("must be true or false")
	errWhole    = errors.New("must be a whole number")
	errDuration = errors.New("must be a duration such as 250ms, 60s or 1h30m")
)

func (s Setting) set(text string) error {
	switch v := s.Value.(type) {
	case *string:
		*v = text
		return nil
	case *bool:
		return parse(v, text, errBool, strconv.ParseBool)
	case *int:
		return parse(v, text, errWhole, strconv.Atoi)
	case *int64:
		return parse(v, text, errWhole, func(t string) (int64, error) { return strconv.ParseInt(t, 10, 64) })
	case *time.Duration:
		return parse(v, text, errDuration, time.ParseDuration)
	case *[]string:
		*v = append(*v, text)
		return nil
	case flag.Value:
		return v.Set(text)
	}
	panic(fmt.Sprintf("cmdkit: setting %s holds a %T", s.Name, s.Value))
}

// parse stores the value of text, or returns must, which says what is allowed.
func parse[T any](to *T, text string, must error, from func(string) (T, error)) error {
	v, err := from(text)
	if err != nil {
		return must
	}
	*to = v
	return nil
}

// defaultText is the present value as the help shows it; empty when there is nothing worth showing.
func (s Setting) defaultText() string {
	switch v := s.Value.(type) {
	case *string:
		if *v != "" {
			return strconv.Quote(*v)
		}
		return ""
	case *bool:
		return strconv.FormatBool(*v)
	case *int:
		return strconv.Itoa(*v)
	case *int64:
		return strconv.FormatInt(*v, 10)
	case *time.Duration:
		return shortDuration(*v)
	case *[]string:
		return strings.Join(*v, ",")
	case flag.Value:
		return v.String()
	}
	return ""
}

// shortDuration drops the zero parts that Duration.String keeps: 1m, not 1m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// placeholder names the kind of value in the help.
func (s Setting) placeholder() string {
	switch s.Value.(type) {
	case *bool:
		return ""
	case *int, *int64:
		return "=N"
	case *time.Duration:
		return "=DURATION"
	}
	if s.isBool() {
		return "[=VALUE]"
	}
	return "=VALUE"
}
