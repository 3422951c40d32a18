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
