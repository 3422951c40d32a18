package cmdkit

import (
	"context"
	"io"
	"log/slog"

	"brokerd/protocol/loglevel"
)

// NewLogger returns a logger that writes text, or JSON when format is "json", to w. Its level follows level, which may be a
// *slog.LevelVar that changes at run time.
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: nameFatal}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// nameFatal prints FATAL for that level, where slog would print ERROR+4.
func nameFatal(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.LevelKey {
		if level, ok := a.Value.Any().(slog.Level); ok && level >= loglevel.Fatal {
			a.Value = slog.StringValue("FATAL")
		}
	}
	return a
}

// LogFatal writes the line that says why the process ends.
func LogFatal(log *slog.Logger, text string, err error) {
	log.Log(context.Background(), loglevel.Fatal, text, "error", err)
}
