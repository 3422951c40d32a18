package appkit

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/cmd/cmdkit"
	"brokerd/protocol/loglevel"

	"github.com/BurntSushi/toml"
)

// Strings is the value of a flag that may be repeated.
type Strings []string

// String returns the values with commas between them.
func (s *Strings) String() string { return strings.Join(*s, ",") }

// Set adds one value.
func (s *Strings) Set(text string) error {
	if text == "" {
		return errors.New("must not be empty")
	}
	*s = append(*s, text)
	return nil
}

// repeated marks the flag as a list for the help.
func (s *Strings) repeated() {}

var errVersion = errors.New("version asked for")

// commonFlags are those that every tool has.
type commonFlags struct {
	config         string
	version        bool
	level          slog.Level
	format         string
	statusInterval time.Duration
	unknownKeys    []string // of the file; they were ignored
}

func (c *commonFlags) register(flags *flag.FlagSet, progress bool) {
	flags.StringVar(&c.config, "config", "", "TOML `file` with more settings: a flag's name with _ for - is its key")
	flags.BoolVar(&c.version, "version", false, "print the version and exit")
	flags.Var((*loglevel.Flag)(&c.level), "log-level", "debug, info, warn, error or fatal")
	flags.StringVar(&c.format, "log-format", "text", "text or json")
	if progress {
		flags.DurationVar(&c.statusInterval, "status-interval", 0,
			"how often to log what was done where the error output is no terminal; 0 never does")
	}
}

// FlagsOf returns a command's flags, for whoever completes command lines.
func FlagsOf(c Command) *flag.FlagSet {
	flags, _, _ := c.flags()
	return flags
}

func (c Command) flags() (*flag.FlagSet, *commonFlags, RunFunc) {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	common := new(commonFlags)
	common.register(flags, c.Progress)
	return flags, common, c.Setup(flags)
}

// parse reads a command's arguments and file.
func parse(c Command, proc Process) (*call, error) {
	flags, common, work := c.flags()
	positional, err := parseArgs(flags, proc.Args, c.Verbatim)
	if err != nil {
		return nil, err
	}
	if common.version {
		return nil, errVersion
	}
	if err := common.readFile(flags); err != nil {
		return nil, err
	}
	if common.format != "text" && common.format != "json" {
		return nil, fmt.Errorf("--log-format must be text or json, not %q", common.format)
	}
	if c.Args == "" && len(positional) > 0 {
		return nil, Usagef("unknown arguments: %s", strings.Join(positional, " "))
	}
	return &call{command: c, common: common, args: positional, work: work}, nil
}

// parseArgs parses flags and returns the positional arguments. Unless the first of them ends the flags, these may stand anywhere
// among them; what stands behind -- is positional, whatever it looks like.
func parseArgs(flags *flag.FlagSet, args []string, verbatim bool) (positional []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		rest := flags.Args()
		if at := len(args) - len(rest) - 1; verbatim || at >= 0 && args[at] == "--" {
			return append(positional, rest...), nil
		}
		if len(rest) == 0 {
			return positional, nil
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}

// readFile sets from the file what no flag has set.
func (c *commonFlags) readFile(flags *flag.FlagSet) error {
	if c.config == "" {
		return nil
	}
	values := make(map[string]any)
	if _, err := toml.DecodeFile(c.config, &values); err != nil {
		return fmt.Errorf("--config must be a readable TOML file, not %q: %w", c.config, err)
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	known := make(map[string]string) // flag by key
	flags.VisitAll(func(f *flag.Flag) { known[strings.ReplaceAll(f.Name, "-", "_")] = f.Name })
	for key, value := range values {
		name, ok := known[key]
		if !ok {
			c.unknownKeys = append(c.unknownKeys, key)
			continue
		}
		if given[name] || name == "config" || name == "version" {
			continue
		}
		if err := setFromFile(flags, name, value); err != nil {
			return fmt.Errorf("the key %s of %s: %w", key, c.config, err)
		}
	}
	slices.Sort(c.unknownKeys)
	return nil
}

// setFromFile gives a flag a TOML value, or all the values of a list.
func setFromFile(flags *flag.FlagSet, name string, value any) error {
	f := flags.Lookup(name)
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	} else if !isRepeated(f) {
		return fmt.Errorf("--%s is one value, not a list", name)
	}
	for _, element := range list {
		text, err := scalar(f, element)
		if err != nil {
			return err
		}
		if err := flags.Set(name, text); err != nil {
			return fmt.Errorf("--%s cannot be %q: %w", name, text, err)
		}
	}
	return nil
}

// scalar turns one TOML value into the text that the flag would be given; whole numbers are milliseconds for a duration.
func scalar(f *flag.Flag, value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case int64:
		if getter, ok := f.Value.(flag.Getter); ok {
			if _, ok := getter.Get().(time.Duration); ok {
				return strconv.FormatInt(v, 10) + "ms", nil
			}
		}
		return strconv.FormatInt(v, 10), nil
	}
	return "", fmt.Errorf("--%s is a single value, not %v", f.Name, value)
}

func isRepeated(f *flag.Flag) bool {
	_, ok := f.Value.(interface{ repeated() })
	return ok
}

// help is what --help prints.
func (c Command) help(program string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s v%s: %s\n\n", program, Version, c.Summary)
	if len(c.Sub) > 0 {
		fmt.Fprintf(&b, "Usage: %s COMMAND [--flag=value ...]\n\n", program)
	} else {
		fmt.Fprintf(&b, "Usage: %s\n\n", strings.TrimSpace(program+" [--flag=value ...] "+c.Args))
	}
	if c.Help != "" {
		b.WriteString(strings.TrimSpace(c.Help) + "\n\n")
	}
	if c.Example != "" {
		b.WriteString("Example:\n")
		for line := range strings.Lines(strings.TrimSpace(c.Example)) {
			b.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
		}
		b.WriteByte('\n')
	}
	if len(c.Sub) > 0 {
		b.WriteString("Commands:\n")
		for _, s := range c.Sub {
			fmt.Fprintf(&b, "  %-12s %s\n", s.Name, s.Summary)
		}
		fmt.Fprintf(&b, "\n%s COMMAND --help says more about each.\n", program)
		return b.String()
	}
	b.WriteString("Flags:\n")
	FlagsOf(c).VisitAll(func(f *flag.Flag) { writeFlag(&b, f) })
	return b.String()
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
	}
	if f.DefValue != "" && f.DefValue != "false" {
		notes = append(notes, "default "+f.DefValue)
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, ", ") + ")"
	}
	cmdkit.WriteFlag(b, name, text)
}
