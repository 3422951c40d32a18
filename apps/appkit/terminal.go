package appkit

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// Width returns how many columns the terminal has that the output goes to, and 0 where it goes to none.
func (e *Env) Width() int {
	width, _ := e.Size()
	return width
}

// Size returns how many columns and lines that terminal has.
func (e *Env) Size() (width, height int) {
	file, ok := e.process.Stdout.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0, 0
	}
	width, height, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// Bad marks text that tells of a failure: red on a terminal, unless NO_COLOR is set to anything.
func (e *Env) Bad(text string) string { return e.colour("31", text) }

// Bold marks text that stands out.
func (e *Env) Bold(text string) string { return e.colour("1", text) }

func (e *Env) colour(code, text string) string {
	if e.Width() == 0 || lookup(e.process.Environ, "NO_COLOR") != "" || lookup(e.process.Environ, "TERM") == "dumb" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Confirm asks whether what cannot be taken back is to be done; yes is the flag that answers beforehand. It returns nil for yes. Where
// nobody can be asked, as the input is no terminal, it is an error that names the flag.
func (e *Env) Confirm(ctx context.Context, yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	question := fmt.Sprintf(format, args...)
	file, ok := e.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return Usagef("%s needs a yes, and there is no terminal to ask at: add --yes", question)
	}
	fmt.Fprintf(e.Stderr, "%s? Type yes to go on: ", question)
	answer := make(chan string, 1)
	go func() { // ends with the process when nobody answers
		line, _ := bufio.NewReader(file).ReadString('\n')
		answer <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(e.Stderr)
		return ctx.Err()
	case line := <-answer:
		if strings.EqualFold(strings.TrimSpace(line), "yes") {
			return nil
		}
	}
	return fmt.Errorf("nothing was done: the answer was not yes")
}
