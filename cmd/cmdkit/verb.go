package cmdkit

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"
)

// Verb carries out the verb that the first argument names and returns the exit code; ok is false when that names none, and
// the command is to be a daemon. ExitFailed is for what the verb could not do, or found wrong.
func (p Program) Verb(proc Process) (code int, ok bool) {
	if len(proc.Args) == 0 {
		return 0, false
	}
	i := slices.IndexFunc(p.Verbs, func(v Verb) bool { return v.Name == proc.Args[0] })
	if i < 0 {
		return 0, false
	}
	v := p.Verbs[i]
	set := flag.NewFlagSet(v.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for name, on := range v.Switches {
		set.BoolVar(on, name, *on, "")
	}
	args, err := parseMixed(set, proc.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(proc.Stdout, "Usage: %s\n\n", v.usage(p))
		fmt.Fprintln(proc.Stdout, v.Help)
		return ExitOK, true
	case err == nil && len(args) != len(v.Args):
		err = fmt.Errorf("%d arguments instead of %d", len(args), len(v.Args))
	}
	if err != nil {
		fmt.Fprintf(proc.Stderr, "%s %s: %s: usage: %s\n", p.Name, v.Name, OneLine(err.Error()), v.usage(p))
		return ExitUsage, true
	}
	if err := v.run(p.Name, args, proc); err != nil {
		fmt.Fprintf(proc.Stderr, "%s %s: %v\n", p.Name, v.Name, err)
		return ExitFailed, true
	}
	return ExitOK, true
}

// parseMixed parses flags that stand between arguments, and returns these. Behind -- all are arguments.
func parseMixed(set *flag.FlagSet, words []string) (args []string, err error) {
	for {
		if err := set.Parse(words); err != nil {
			return nil, err
		}
		rest := set.Args()
		if read := len(words) - len(rest); read > 0 && words[read-1] == "--" {
			return append(args, rest...), nil
		}
		if len(rest) == 0 {
			return args, nil
		}
		args, words = append(args, rest[0]), rest[1:]
	}
}

// progressEvery is how often a verb that takes long says how far it is.
const progressEvery = 5 * time.Second

// run carries out the verb, or returns at the first signal: the process is to end then, and the verb with it.
func (v *Verb) run(program string, args []string, proc Process) error {
	done := make(chan error, 1)
	go func() { done <- v.Run(args, proc.Stdout) }() // ends with the verb, which is waited for unless the process ends
	began, ticks := time.Now(), (<-chan time.Time)(nil)
	if v.Progress != nil {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case err := <-done:
			return err
		case now := <-ticks:
			if text := v.Progress(); text != "" {
				fmt.Fprintf(proc.Stderr, "%s %s: %v: %s\n", program, v.Name, now.Sub(began).Round(time.Second), OneLine(text))
			}
		case sig := <-proc.Signals:
			if v.Interrupted != nil {
				v.Interrupted()
			}
			return fmt.Errorf("ended before it was done, by signal: %v", sig)
		}
	}
}
