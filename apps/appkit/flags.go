package appkit

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"brokerd/protocol/loglevel"
)

// Strings is the value of a flag that may be repeated.
type Strings []string

// String returns the values with commas between them.
func (s *Strings) String() string { return strings.Join(*s, ",") }

// Set adds one value. An empty one is none: scripts and compose files make that of a variable that is not set.
func (s *Strings) Set(text string) error {
	if text != "" {
		*s = append(*s, text)
	}
	return nil
}

// repeated marks the flag as a list for the help.
func (s *Strings) repeated() {}

// Lines are Strings that have commas of their own, as 'Accept: text/plain, text/html': the environment has one a line.
type Lines struct{ Strings }

// lines marks the flag as such a list.
func (l *Lines) lines() {}

// separator is what stands between the values of a list in the environment.
func separator(f *flag.Flag) string {
	if _, ok := f.Value.(interface{ lines() }); ok {
		return "\n"
	}
	return ","
}

func isRepeated(f *flag.Flag) bool {
	_, ok := f.Value.(interface{ repeated() })
	return ok
}

// commonFlags are those that every tool has.
type commonFlags struct {
	config, context, tokenFile string
	tls                        tlsFlags
	version                    bool
	level                      slog.Level
	format                     string
	statusInterval             time.Duration
	json                       bool
	unknownKeys                []string // of the file; they were ignored
	warnings                   []string // about what was told
}

func (c *commonFlags) register(flags *flag.FlagSet, service, progress bool) {
	if !service {
		c.level = slog.LevelWarn
	}
	if progress {
		flags.DurationVar(&c.statusInterval, "status-interval", 0,
			"how often to log what was done where the error output is no terminal; 0 never does")
	}
	flags.StringVar(&c.context, "context", "", "`name` of the context that says where the daemons are: see brokerctl context --help")
	flags.StringVar(&c.tokenFile, "token-file", "",
		"`file` with the secret to show to daemons, as a bearer token and in AUTH; "+variable("token")+" may hold the secret itself")
	c.tls.register(flags)
	flags.StringVar(&c.config, "config", "", "TOML `file` with more settings: a flag's name with _ for - is its key")
	flags.Var((*loglevel.Flag)(&c.level), "log-level", "debug, info, warn, error or fatal")
	flags.StringVar(&c.format, "log-format", "text", "text or json")
	flags.BoolVar(&c.version, "version", false, "print the version and exit")
}

// files returns the files that are named for what daemons are shown, by their flags.
func (c *commonFlags) files() map[string]string {
	return map[string]string{"token-file": c.tokenFile, flagRootCA: c.tls.rootCA, flagTLSCert: c.tls.cert, flagTLSKey: c.tls.key}
}

// isCommon reports whether every command has the flag.
func isCommon(name string) bool {
	switch name {
	case "context", "token-file", flagRootCA, flagTLSCert, flagTLSKey, "config", "log-level", "log-format", "version":
		return true
	}
	return false
}

// flags returns the command's flags and the work that they set up.
func (c Command) flags() (*flag.FlagSet, *commonFlags, RunFunc) {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	common := new(commonFlags)
	work := c.Setup(flags)
	common.register(flags, c.Service, c.Progress)
	if c.Progress && flags.Lookup("json") == nil {
		flags.BoolVar(&common.json, "json", false, "print at the end what was done, as a JSON object")
	}
	return flags, common, work
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

// texts returns what the flag would be given for a TOML value.
func texts(f *flag.Flag, value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	} else if !isRepeated(f) {
		return nil, fmt.Errorf("--%s is one value, not a list", f.Name)
	}
	var out []string
	for _, element := range list {
		text, err := scalar(f, element)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}
