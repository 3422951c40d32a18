package appkit

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"brokerd/cmd/cmdkit"
	"brokerd/protocol/release"
)

// Main runs a program as this process and ends it.
func Main(root Command) { os.Exit(Run(root, NewProcess())) }

// Run runs a program from its arguments to its exit code. Called under the name of one of NSQ's tools it is that tool.
func Run(root Command, proc Process) int {
	if proc.Name == "" {
		proc.Name = root.Name
	}
	if i := slices.IndexFunc(root.Sub, func(c Command) bool { return c.NSQ != "" && c.NSQ == proc.Name }); i >= 0 {
		names := root.Names
		root = root.Sub[i]
		root.Names = names
	}
	return newProgram(root, proc).run()
}

// programName is the name that a program was called by, without its folder.
func programName(arg0 string) string { return strings.TrimSuffix(filepath.Base(arg0), ".exe") }

// program is one run of a command with all that is below it.
type program struct {
	root  Command
	proc  Process
	cobra *cobra.Command
	code  int
	known map[string]bool // every flag of every command
}

// exitError ends a run whose reason was printed already.
var errExit = errors.New("exit")

func newProgram(root Command, proc Process) *program {
	p := &program{root: root, proc: proc, known: make(map[string]bool)}
	p.cobra = p.build(root, proc.Name)
	p.cobra.SetOut(proc.Stdout)
	p.cobra.SetErr(proc.Stderr)
	p.cobra.CompletionOptions.DisableDefaultCmd = true
	p.cobra.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return p.refuse(cmd, err) })
	return p
}

// run carries out what the arguments say.
func (p *program) run() int {
	p.cobra.SetArgs(p.canonical(p.proc.Args))
	if err := p.cobra.Execute(); err != nil && !errors.Is(err, errExit) {
		p.refuse(p.cobra, err)
	}
	return p.code
}

// refuse prints what is wrong with the arguments.
func (p *program) refuse(cmd *cobra.Command, err error) error {
	if errors.As(err, new(missingError)) { // a context
		fmt.Fprintf(p.proc.Stderr, "%s: %s\n", cmd.CommandPath(), cmdkit.OneLine(err.Error()))
		p.code = ExitMissing
		return errExit
	}
	fmt.Fprintf(p.proc.Stderr, "%s: %s: see %s --help\n", cmd.CommandPath(), cmdkit.OneLine(err.Error()), cmd.CommandPath())
	p.code = ExitUsage
	return errExit
}

// build makes cobra's command of c and of what is below it.
func (p *program) build(c Command, name string) *cobra.Command {
	cmd := &cobra.Command{
		Use: strings.TrimSpace(name + " " + c.Args), Aliases: c.Aliases, Short: c.Summary, Long: strings.TrimSpace(c.Help),
		Example: c.Example, Hidden: c.Hidden, Args: cobra.ArbitraryArgs, SilenceErrors: true, SilenceUsage: true,
		DisableFlagsInUseLine: true, SuggestionsMinimumDistance: 2,
	}
	cmd.Flags().SortFlags = false
	if len(c.Sub) == 0 {
		p.buildLeaf(cmd, c)
		return cmd
	}
	version := cmd.Flags().Bool("version", false, "print the version and exit")
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { io.WriteString(p.proc.Stdout, p.groupHelp(c, cmd.CommandPath())) })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case *version:
			p.printVersion(cmd)
			return nil
		case len(args) == 0:
			io.WriteString(p.proc.Stderr, p.groupHelp(c, cmd.CommandPath()))
			p.code = ExitUsage
			return errExit
		}
		return p.refuse(cmd, unknownCommand(cmd, args[0]))
	}
	for _, sub := range c.Sub {
		cmd.AddCommand(p.build(sub, sub.Name))
	}
	return cmd
}

func unknownCommand(cmd *cobra.Command, word string) error {
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return fmt.Errorf("unknown command %q, did you mean %s", word, strings.Join(near, " or "))
	}
	return fmt.Errorf("unknown command %q", word)
}

// buildLeaf gives cmd the flags and the work of c.
func (p *program) buildLeaf(cmd *cobra.Command, c Command) {
	flags, common, work := c.flags()
	cmd.Flags().AddGoFlagSet(flags)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { p.known[f.Name] = true })
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { io.WriteString(p.proc.Stdout, p.leafHelp(c, cmd)) })
	p.complete(cmd, c)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if common.version {
			p.printVersion(cmd)
			return nil
		}
		l := &call{command: c, path: cmd.CommandPath(), common: common, args: args, work: work}
		if err := p.resolve(cmd, flags, l); err != nil {
			return p.refuse(cmd, err)
		}
		if err := checkArgs(c.Args, args); err != nil {
			return p.refuse(cmd, err)
		}
		if p.code = l.run(p.proc); p.code != ExitOK {
			return errExit
		}
		return nil
	}
}

// checkArgs says whether there are too few arguments or too many.
func checkArgs(names string, given []string) error {
	want := strings.Fields(names)
	least, most := 0, len(want)
	optional := false
	for _, name := range want {
		if optional = optional || strings.HasPrefix(name, "["); !optional {
			least++
		}
		if strings.HasSuffix(strings.TrimRight(name, "]"), "...") {
			most = len(given)
		}
	}
	switch {
	case len(want) == 0 && len(given) > 0:
		return fmt.Errorf("unknown arguments: %s", strings.Join(given, " "))
	case len(given) < least:
		return fmt.Errorf("wants %s", names)
	case len(given) > most:
		return fmt.Errorf("wants %s, not more: %s", names, strings.Join(given[most:], " "))
	}
	return nil
}

// printVersion prints the version, in the form of NSQ's tools under their names.
func (p *program) printVersion(cmd *cobra.Command) {
	if p.root.NSQ != "" && p.proc.Name == p.root.NSQ {
		fmt.Fprintf(p.proc.Stdout, "%s v%s\n", p.root.NSQ, Version)
		return
	}
	fmt.Fprintln(p.proc.Stdout, p.cobra.Name(), release.This())
}

// canonical rewrites flags as Go's flag package takes them, -topic=x and -topic x beside --topic=x, to --topic=x, which is what
// cobra takes. What stands behind -- stays as it is.
func (p *program) canonical(args []string) []string {
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		last := max(len(args)-1, 1) // what the user has typed of a word, which is to be completed as it is
		return append(append([]string{args[0]}, rewrite(p.cobra, args[1:last])...), args[last:]...)
	}
	return rewrite(p.cobra, args)
}

// rewrite is canonical for the words of a line.
func rewrite(cmd *cobra.Command, args []string) (out []string) {
	below := true // a word can still name a command
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return append(out, args[i:]...)
		case len(arg) < 2 || arg[0] != '-':
			out = append(out, arg)
			var sub *cobra.Command
			if below {
				sub = child(cmd, arg)
			}
			if below = sub != nil; below {
				cmd = sub
			}
			continue
		}
		text := strings.TrimPrefix(arg[1:], "-")
		name, _, hasValue := strings.Cut(text, "=")
		f := cmd.Flags().Lookup(name)
		if f == nil && name == "h" {
			text = "help"
		}
		if f != nil && !hasValue && f.NoOptDefVal == "" && i+1 < len(args) {
			i++
			text += "=" + args[i]
		}
		out = append(out, "--"+text)
	}
	return out
}

// child returns the command below cmd that the word names.
func child(cmd *cobra.Command, word string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == word || sub.HasAlias(word) {
			return sub
		}
	}
	return nil
}

// Line is what stands on a command line that is being completed.
type Line struct {
	Args []string // positional arguments before the one that is completed
	// Brokers and Lookups are the HTTP addresses that flags, contexts and the environment give.
	Brokers, Lookups []string
	Flag             func(name string) []string // values of a flag
	Token            string
	TLS              *tls.Config // nil for the system's authorities
}

// complete tells cobra how the command's arguments and flags are completed.
func (p *program) complete(cmd *cobra.Command, c Command) {
	answer := func(cmd *cobra.Command, kind string, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if kind == "" || strings.Contains(kind, "FILE") || strings.Contains(kind, "DIR") || kind == "PATTERN" {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return p.candidates(cmd, kind, args, word), cobra.ShellCompDirectiveNoFileComp
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		names := strings.Fields(c.Args)
		i := len(args)
		if len(names) == 0 || i >= len(names) && !strings.Contains(names[len(names)-1], "...") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return answer(cmd, strings.ReplaceAll(strings.Trim(names[min(i, len(names)-1)], "[]."), "[/", "/"), args, word)
	}
	for name, kind := range map[string]string{
		"topic": "TOPIC", "channel": "CHANNEL", "context": "CONTEXT", "log-level": "debug|info|warn|error|fatal", "log-format": "text|json", "serve": "all|leader",
	} {
		if cmd.Flags().Lookup(name) != nil {
			err := cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
				return answer(cmd, kind, args, word)
			})
			if err != nil {
				panic(err) // a flag has two completions
			}
		}
	}
}

// candidates returns what a word can become.
func (p *program) candidates(cmd *cobra.Command, kind string, args []string, word string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(p.proc.CompleteWithin, time.Second))
	defer cancel()
	var list []string
	switch kind {
	case "CONTEXT":
		list, _, _ = NewContexts(p.proc.ConfigDir).List() // the worst is no candidate
	case "TOPIC", "CHANNEL", "NODE", "TOPIC/CHANNEL":
		if p.root.Names != nil {
			list = p.names(ctx, cmd, kind, args, word)
		}
	default:
		list = strings.Split(kind, "|")
	}
	return slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, word) })
}

// names asks daemons.
func (p *program) names(ctx context.Context, cmd *cobra.Command, kind string, args []string, word string) []string {
	line := p.line(cmd, args)
	topic, _, inTopic := strings.Cut(word, "/")
	switch {
	case kind == "TOPIC/CHANNEL" && inTopic:
		line.Args = []string{topic}
		list := p.root.Names(ctx, "CHANNEL", line)
		for i := range list {
			list[i] = topic + "/" + list[i]
		}
		return list
	case kind == "TOPIC/CHANNEL":
		kind = "TOPIC"
	case kind == "CHANNEL" && len(line.Args) == 0:
		line.Args = line.Flag("topic")
	}
	return p.root.Names(ctx, kind, line)
}

// WriteCompletion writes the script that makes a shell complete the program: bash, zsh or fish.
func WriteCompletion(root Command, shell string, w io.Writer) error {
	cmd := newProgram(root, Process{Name: root.Name}).cobra
	switch shell {
	case "bash":
		return cmd.GenBashCompletionV2(w, true)
	case "zsh":
		return cmd.GenZshCompletion(w)
	case "fish":
		return cmd.GenFishCompletion(w, true)
	}
	return Usagef("wants one of bash, zsh, fish, not %q", shell)
}

// WriteManual writes a page of section 1 for the program and for each of its commands into a folder, which it makes.
func WriteManual(root Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd := newProgram(root, Process{Name: root.Name}).cobra
	cmd.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: "brokerd", Manual: "brokerd"}
	return doc.GenManTree(cmd, header, dir)
}
