package appkit

import (
	"context"
	"log/slog"
	"strings"

	"github.com/nsqio/go-nsq"
)

// ClientLog hands go-nsq's log to a *slog.Logger.
type ClientLog struct{ Log *slog.Logger }

// levels maps the words that begin go-nsq's lines.
var levels = map[string]slog.Level{
	nsq.LogLevelDebug.String():   slog.LevelDebug,
	nsq.LogLevelInfo.String():    slog.LevelInfo,
	nsq.LogLevelWarning.String(): slog.LevelWarn,
	nsq.LogLevelError.String():   slog.LevelError,
}

// Output logs one line of go-nsq's at the level that it begins with.
func (c ClientLog) Output(_ int, line string) error {
	word, text, _ := strings.Cut(line, " ")
	level, ok := levels[word]
	if !ok {
		level, text = slog.LevelInfo, line
	}
	c.Log.Log(context.Background(), level, strings.TrimSpace(text))
	return nil
}

// clientLevel is the least level for which go-nsq has to make a line at all.
func clientLevel(log *slog.Logger) nsq.LogLevel {
	ctx := context.Background()
	switch {
	case log.Enabled(ctx, slog.LevelDebug):
		return nsq.LogLevelDebug
	case log.Enabled(ctx, slog.LevelInfo):
		return nsq.LogLevelInfo
	case log.Enabled(ctx, slog.LevelWarn):
		return nsq.LogLevelWarning
	}
	return nsq.LogLevelError
}

// ClientLog is where go-nsq's lines go. Those of a command that speaks to a person count for less: that a broker was connected to is
// worth a line at level debug, that it was lost one at info, and only its errors are seen without being asked for.
func (e *Env) ClientLog() *slog.Logger {
	if e.service {
		return e.Log
	}
	return slog.New(lesser{e.Log.Handler()})
}

// lesser logs everything a level lower, and that a lookup does not know a topic yet, which the command itself tells, two.
type lesser struct{ slog.Handler }

const oneLevel = slog.LevelInfo - slog.LevelDebug

// Enabled reports whether a line of the level would be seen.
func (h lesser) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, level-oneLevel)
}

// Handle logs a line.
func (h lesser) Handle(ctx context.Context, r slog.Record) error {
	r.Level -= oneLevel
	if strings.Contains(r.Message, "TOPIC_NOT_FOUND") {
		r.Level -= oneLevel
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}
