package cmdkit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
)

// LevelFatal is the level of the one line that says why a daemon ends; it is printed as FATAL.
const LevelFatal = slog.LevelError + 4

// NewLogger returns a logger that writes text, or JSON when format is "json", to w. Its level follows level at run time.
func NewLogger(w io.Writer, format string, level *slog.LevelVar) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: nameFatal}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// nameFatal prints FATAL for LevelFatal, where slog would print ERROR+4.
func nameFatal(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.LevelKey {
		if level, ok := a.Value.Any().(slog.Level); ok && level >= LevelFatal {
			a.Value = slog.StringValue("FATAL")
		}
	}
	return a
}

// fatal writes the line that says why the daemon ends.
func fatal(log *slog.Logger, text string, err error) {
	log.Log(context.Background(), LevelFatal, text, "error", err)
}

// Level is a flag.Value of a log level: debug, info, warn, error or fatal in any case.
type Level slog.Level

// Set takes the word.
func (l *Level) Set(word string) error {
	if strings.EqualFold(word, "fatal") {
		*l = Level(LevelFatal)
		return nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(word)); err != nil || strings.ContainsAny(word, "+-") {
		return errors.New("must be debug, info, warn, error or fatal")
	}
	*l = Level(level)
	return nil
}

// String returns the word.
func (l *Level) String() string {
	if slog.Level(*l) >= LevelFatal {
		return "fatal"
	}
	return strings.ToLower(slog.Level(*l).String())
}
