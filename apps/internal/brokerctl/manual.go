package brokerctl

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"brokerd/apps/appkit"
)

// manual writes manual pages, for packages.
func manual() appkit.Command {
	return appkit.Command{
		Name: "man", Summary: "write manual pages into a folder", Args: "DIR [PROGRAM...]", Hidden: true, Alone: true,
		Help:    "A page of section 1 for brokerctl and each of its commands, and for each PROGRAM, a daemon's file, of what its --help prints.",
		Example: "brokerctl man /usr/local/share/man/man1 /usr/local/bin/brokerd",
		Setup: func(*flag.FlagSet) appkit.RunFunc {
			return func(ctx context.Context, env *appkit.Env) error {
				dir := env.Args[0]
				if err := appkit.WriteManual(New(), dir); err != nil {
					return err
				}
				for _, program := range env.Args[1:] {
					help, err := exec.CommandContext(ctx, program, "--help").Output()
					if err != nil {
						return fmt.Errorf("%s --help: %w", program, err)
					}
					name := strings.TrimSuffix(filepath.Base(program), ".exe")
					page, err := manualPage(name, string(help))
					if err != nil {
						return fmt.Errorf("%s --help: %w", program, err)
					}
					if err := os.WriteFile(filepath.Join(dir, name+".1"), []byte(page), 0o644); err != nil {
						return err
					}
				}
				return nil
			}
		},
	}
}

// manualPage makes a page of a help text, whose first line ends with what the program is.
func manualPage(name, help string) (string, error) {
	first, rest, ok := strings.Cut(help, "\n\n")
	_, about, named := strings.Cut(first, ": ")
	if !ok || !named || strings.Contains(first, "\n") {
		return "", errors.New("it does not begin with a line that says what the program is")
	}
	usage, rest, _ := strings.Cut(rest, "\n\n")
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" brokerd brokerd\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), name, roff(about))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n%s\n.SH DESCRIPTION\n.nf\n", roff(strings.TrimPrefix(usage, "Usage: ")))
	for line := range strings.Lines(rest) {
		line = strings.TrimRight(line, "\n")
		if heading := line != "" && line[0] >= 'A' && line[0] <= 'Z' && !strings.ContainsAny(line, ".,("); heading && len(line) < 40 {
			fmt.Fprintf(&b, ".fi\n.SS %s\n.nf\n", roff(line))
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	b.WriteString(".fi\n.SH SEE ALSO\n.BR brokerctl (1),\n.BR brokerd (1),\n.BR lookupd (1),\n.BR admind (1)\n")
	return b.String(), nil
}

// roff escapes text for a manual page.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}
