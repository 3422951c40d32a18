package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"brokerd/admin"
	"brokerd/cmd/cmdkit"
)

// userVerb is admind user add: the password is asked for, or is the first line of stdin; it never is an argument, which others
// on the machine can see.
func userVerb(in *os.File, prompts io.Writer) cmdkit.Verb {
	before, noTerminal := term.GetState(int(in.Fd()))
	return cmdkit.Verb{
		Name: "user", Args: []string{"add", "USERS-FILE", "NAME", "ROLE"},
		Help: "add somebody to a file for --users-file, or give him another password and role: viewer, reader or operator, or for some topics, as in " +
			"viewer,operator=orders.*. The password is " +
			"asked for, or read from stdin when that is no terminal",
		Run: func(args []string, out io.Writer) error {
			if args[0] != "add" {
				return fmt.Errorf("there is add, not %q", args[0])
			}
			password, err := readPassword(in, prompts)
			if err != nil {
				return err
			}
			if err := admin.SetUser(args[1], args[2], password, args[3]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "%s is in %s as %s\n", args[2], args[1], args[3])
			return err
		},
		Interrupted: func() { // while a password was typed the terminal shows nothing
			if noTerminal == nil {
				_ = term.Restore(int(in.Fd()), before) // the process ends
			}
		},
	}
}

func readPassword(in *os.File, prompts io.Writer) (string, error) {
	if !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(prompts, prompt)
		text, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(prompts)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		typed[i] = string(text)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two are not the same")
	}
	return typed[0], nil
}
