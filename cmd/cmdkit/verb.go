package cmdkit

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
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
	err := set.Parse(proc.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(proc.Stdout, "Usage: %s\n\n", v.usage(p))
		fmt.Fprintln(proc.Stdout, v.Help)
		return ExitOK, true
	case err == nil && set.NArg() != len(v.Args):
		err = fmt.Errorf("%d arguments instead of %d", set.NArg(), len(v.Args))
	}
	if err != nil {
		fmt.Fprintf(proc.Stderr, "%s %s: %v: usage: %s\n", p.Name, v.Name, err, v.usage(p))
		return ExitUsage, true
	}
	if err := v.Run(set.Args(), proc.Stdout); err != nil {
		fmt.Fprintf(proc.Stderr, "%s %s: %v\n", p.Name, v.Name, err)
		return ExitFailed, true
	}
	return ExitOK, true
}
