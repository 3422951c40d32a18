package appkit

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/nsqio/go-nsq"
	"golang.org/x/term"
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
