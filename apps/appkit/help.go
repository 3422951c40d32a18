package appkit

import (
	"flag"
	"fmt"
	"strings"

	"brokerd/cmd/cmdkit"

	"github.com/spf13/cobra"
)

// exitCodes is what the help says of them.
const exitCodes = `Exit codes: 0 done, 1 failed, 2 told something wrong, 3 there is no such topic, channel, node, option or context.
`

// groupHelp is what --help prints for a group.
func (p *program) groupHelp(c Command, path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nUsage: %s COMMAND [--flag=value ...]\n\n", path, c.Summary, path)
	writeText(&b, c)
	b.WriteString("Commands:\n")
	for _, s := range c.Sub {
		if !s.Hidden {
			fmt.Fprintf(&b, "  %-12s %s\n", strings.Join(append([]string{s.Name}, s.Aliases...), ", "), s.Summary)
		}
	}
	fmt.Fprintf(&b, "\n%s COMMAND --help says more about each.\n\n%s", path, exitCodes)
	return b.String()
}

// leafHelp is what --help prints for a command.
func (p *program) leafHelp(c Command, cmd *cobra.Command) string {
	var b strings.Builder
	path := cmd.CommandPath()
	fmt.Fprintf(&b, "%s: %s\n\nUsage: %s\n\n", path, c.Summary, strings.TrimSpace(path+" [--flag=value ...] "+c.Args))
	if names := append([]string{}, c.Aliases...); len(names) > 0 {
		fmt.Fprintf(&b, "Also: %s\n\n", strings.Join(names, ", "))
	}
	writeText(&b, c)
	flags, _, _ := c.flags()
	own, common := new(strings.Builder), new(strings.Builder)
	flags.VisitAll(func(f *flag.Flag) {
		if isCommon(f.Name) {
			writeFlag(common, f)
		} else {
			writeFlag(own, f)
		}
	})
	if own.Len() > 0 {
		b.WriteString("Flags:\n" + own.String() + "\n")
	}
	b.WriteString("Flags of every command:\n" + common.String())
	cmdkit.WriteFlag(&b, "help", "print this and exit")
	fmt.Fprintf(&b, "\nFlags may be written -flag=value, -flag value and --flag=value. Each is taken from the command line, else from\n"+
		"--context, else from the environment (%s for --log-level, lists with commas), else from the file of\n"+
		"--config, else from the context in use.\n\n%s", variable("log-level"), exitCodes)
	return b.String()
}

// writeText writes what the command says about itself.
func writeText(b *strings.Builder, c Command) {
	if c.Help != "" {
		b.WriteString(strings.TrimSpace(c.Help) + "\n\n")
	}
	if c.Example == "" {
		return
	}
	b.WriteString("Example:\n")
	for line := range strings.Lines(strings.TrimSpace(c.Example)) {
		b.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
	}
	b.WriteByte('\n')
}

// writeFlag writes one flag with its explanation.
func writeFlag(b *strings.Builder, f *flag.Flag) {
	kind, text := flag.UnquoteUsage(f)
	name := f.Name
	if kind != "" {
		name += "=" + strings.ToUpper(kind)
	}
	var notes []string
	if isRepeated(f) {
		notes = append(notes, "may be repeated")
		if separator(f) == "\n" {
			notes = append(notes, "one a line in the environment")
		}
	}
	if f.DefValue != "" && f.DefValue != "false" {
		notes = append(notes, "default "+shownDefault(f.DefValue))
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, ", ") + ")"
	}
	cmdkit.WriteFlag(b, name, text)
}

// shownDefault writes a default so that it can be seen: a newline as \n.
func shownDefault(value string) string {
	quoted := fmt.Sprintf("%q", value)
	if quoted != `"`+value+`"` {
		return quoted
	}
	return value
}
