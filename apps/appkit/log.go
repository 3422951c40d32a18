package appkit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/nsqio/go-nsq"
	"golang.org/x/term"
)

// levelFatal is the level of the one line that says why a tool ends; it is printed as FATAL.
const levelFatal = slog.LevelError + 4

// logLevel is a flag.Value: debug, info, warn, error or fatal in any case.
type logLevel slog.Level

func (l *logLevel) Set(word string) error {
	if strings.EqualFold(word, "fatal") {
		*l = logLevel(levelFatal)
		return nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(word)); err != nil || strings.ContainsAny(word, "+-") {
		return errors.New("must be debug, info, warn, error or fatal")
	}
	*l = logLevel(level)
	return nil
}

func (l *logLevel) String() string {
	if slog.Level(*l) >= levelFatal {
		return "fatal"
	}
	return strings.ToLower(slog.Level(*l).String())
}

// logger writes text or JSON of the chosen level and above to w.
func (c *commonFlags) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.level, ReplaceAttr: nameFatal}
	if c.format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// nameFatal prints FATAL for levelFatal, where slog would print ERROR+4.
func nameFatal(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.LevelKey {
		if level, ok := a.Value.Any().(slog.Level); ok && level >= levelFatal {
			a.Value = slog.StringValue("FATAL")
		}
	}
	return a
}

func logFatal(log *slog.Logger, text string, err error) {
	log.Log(context.Background(), levelFatal, text, "error", err)
}

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

// console is the error output: whole writes, and below them a line of progress if it is a terminal.
type console struct {
	terminal bool

	mu   sync.Mutex
	w    io.Writer
	line string // of progress that stands there now
}

func newConsole(w io.Writer) *console {
	c := &console{w: w}
	if f, ok := w.(*os.File); ok {
		c.terminal = term.IsTerminal(int(f.Fd()))
	}
	return c
}

const clearLine = "\r\x1b[K"

// Write writes p above the line of progress.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == "" {
		return c.w.Write(p)
	}
	io.WriteString(c.w, clearLine)
	n, err := c.w.Write(p)
	io.WriteString(c.w, c.line)
	return n, err
}

// show replaces the line of progress.
func (c *console) show(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line = line
	io.WriteString(c.w, clearLine+line)
}

// leave ends the line of progress, so that it stays.
func (c *console) leave(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line = ""
	io.WriteString(c.w, clearLine+line+"\n")
}
