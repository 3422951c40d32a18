package appkit

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

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
