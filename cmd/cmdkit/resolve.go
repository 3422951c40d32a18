package cmdkit

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"brokerd/protocol/httpapi"
)

// Program is a daemon as its user sees it, and how it is made.
type Program struct {
	Name     string // of the command; in upper case it begins the environment variables
	About    string // one line for the help
	Version  string // without the leading v
	Settings []Setting
	Verbs    []Verb // what the command does besides being a daemon

	// What Run has to know of the settings: variables that some of them set.
	LogLevel, LogFormat *string
	ShutdownTimeout     *time.Duration

	// Validate checks the settings once all have their values. It may join errors, and name the source of a value with Locate.
	Validate func(Resolved) error
	// New makes the daemon, which is not started yet. It reads the files that the settings name, and binds nothing.
	New func(Launch) (Daemon, error)

	// Again returns the same program over settings that have their defaults, for reading them anew; nil when that cannot be done.
	Again func() Program
	// Reload hands what this program's settings say to a daemon that runs. When it fails the daemon has changed nothing. Changes is what
	// the function of that name said before the settings were read.
	Reload func(d Daemon, from httpapi.Origins, changes uint64) error
	// Changes returns how often settings of a daemon that runs were changed by hand: a reload that such a change came into is refused. Nil
	// when that cannot be.
	Changes func(d Daemon) uint64
	// Refused tells a daemon that runs that its settings could not be read anew; nil when it does not want to know.
	Refused func(d Daemon)
}

// Verb is something that a command does and ends: its first argument names it.
type Verb struct {
	Name string
	Args []string // names of what must follow it
	Help string
	// Switches may stand before, between and behind the arguments, as --name; each sets what it points to.
	Switches map[string]*bool
	Run      func(args []string, stdout io.Writer) error
	// Interrupted, when not nil, puts right what Run has left as it was when a signal ended the command.
	Interrupted func()
	// Progress, when not nil, says while Run goes on how far it is, "" when that is not known: for a line on standard error every few seconds when it takes
	// long.
	Progress func() string
}

// What Resolve returns when the user asked for text instead of a daemon.
var (
	ErrHelp    = flag.ErrHelp
	ErrVersion = errors.New("version asked for")
)

// Resolved says where each value came from.
type Resolved struct {
	Check   bool      // --check-config was given: nothing is to be started
	File    string    // that --config named, or empty
	Unknown []Unknown // what was said and means nothing: keys of the file, then variables, each sorted
	Idle    []string  // names of the settings that are set and have no effect
	sources map[string]string
}

// Resolve sets every setting from its strongest source. environ is what os.Environ returns, or a stand-in for it. An error
// is ErrHelp, ErrVersion, or one line that names the flag, the value, what is allowed and the source.
func (p Program) Resolve(args, environ []string) (Resolved, error) {
	r := Resolved{sources: make(map[string]string)}
	env := variables(environ)
	given, err := p.parseFlags(args)
	if err != nil {
		return r, err
	}
	r.Check = isSet(given[flagCheck])
	file, err := p.readFile(given, env)
	r.File = file.path
	if err != nil {
		return r, err
	}
	r.Unknown = append(p.unknownKeys(file), p.unknownVariables(env)...)
	for _, s := range p.Settings {
		texts, source, err := p.strongest(s, given, env, file)
		if source == "" {
			continue
		}
		r.sources[s.Name] = source
		if s.Idle {
			r.Idle = append(r.Idle, s.Name)
		}
		if err == nil {
			err = s.assign(texts)
		}
		if err != nil {
			return r, r.Locate(s.Name, err)
		}
	}
	for _, name := range withoutEffect {
		if _, inFile := file.values[Setting{Name: name}.key()]; inFile || given[name] != nil || env[p.variable(name)] != "" {
			r.Idle = append(r.Idle, name)
		}
	}
	return r, nil
}

// strongest returns what the first source that gives the setting a value says, and names that source; empty when none does.
func (p Program) strongest(s Setting, given map[string][]string, env map[string]string, file file) (texts []string, source string, err error) {
	if texts := s.meant(given[s.Name]); len(texts) > 0 {
		return texts, "from the flag", nil
	}
	variable := p.variable(s.Name)
	if text := env[variable]; text != "" {
		if texts := s.meant(s.split(text)); len(texts) > 0 {
			return texts, "from the environment variable " + variable, nil
		}
	}
	if value, ok := file.values[s.key()]; ok {
		source := "from the key " + s.key() + " of " + file.path
		texts, err := s.fromFile(value)
		if texts = s.meant(texts); len(texts) > 0 || err != nil {
			return texts, source, err
		}
	}
	return nil, "", nil
}

// meant leaves out empty texts: scripts write --flag=$VALUE, and an empty value means that they have none to give.
func (s Setting) meant(texts []string) []string {
	if s.EmptyCounts {
		return texts
	}
	return slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return text == "" })
}

// Origins says where the values came from, for the daemon to tell.
func (r Resolved) Origins() httpapi.Origins {
	o := httpapi.Origins{File: r.File, Sources: make(map[string]string, len(r.sources))}
	for name, source := range r.sources {
		o.Sources[name] = strings.TrimPrefix(strings.TrimPrefix(source, "from the "), "from ")
	}
	for _, u := range r.Unknown {
		o.Warnings = append(o.Warnings, u.text(r.File))
	}
	for _, name := range r.Idle {
		o.Warnings = append(o.Warnings, "without effect: --"+name)
	}
	return o
}

// Locate adds to err, which is about the named setting, the source that the setting's value came from.
func (r Resolved) Locate(name string, err error) error {
	source, ok := r.sources[name]
	if !ok {
		return err
	}
	return fmt.Errorf("%w (%s)", err, source)
}

// variables turns what os.Environ returns into a map. Of two with one name the first counts, as for os.Getenv.
func variables(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if _, ok := env[name]; !ok {
			env[name] = value
		}
	}
	return env
}

// variable is the environment variable of a setting.
func (p Program) variable(name string) string {
	return strings.ToUpper(p.Name + "_" + strings.ReplaceAll(name, "-", "_"))
}

// split takes a list that is written as one text apart.
func (s Setting) split(text string) []string {
	if !s.isList() {
		return []string{text}
	}
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// recorder keeps what one flag was given, in order, without judging it.
type recorder struct {
	name  string
	bare  bool
	given map[string][]string
}

func (r recorder) String() string   { return "" }
func (r recorder) IsBoolFlag() bool { return r.bare }
func (r recorder) Set(text string) error {
	r.given[r.name] = append(r.given[r.name], text)
	return nil
}

// Flags that every daemon takes and that set nothing by themselves.
const (
	flagConfig   = "config"
	flagCheck    = "check-config"
	flagVersion  = "version"
	flagVerbose  = "verbose"
	flagWorkerID = "worker-id"
)

// parseFlags returns the texts that each flag was given.
func (p Program) parseFlags(args []string) (map[string][]string, error) {
	given := make(map[string][]string)
	set := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	set.Var(recorder{flagConfig, false, given}, flagConfig, "")
	for _, name := range []string{flagCheck, flagVersion, flagVerbose, flagWorkerID} {
		set.Var(recorder{name, true, given}, name, "")
	}
	for _, s := range p.Settings {
		set.Var(recorder{s.Name, s.isBool(), given}, s.Name, "")
	}
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, ErrHelp
		}
		return nil, fmt.Errorf("%s%s: see %s --help", OneLine(err.Error()), p.flagMeant(err), p.Name)
	}
	if isSet(given[flagVersion]) {
		return nil, ErrVersion
	}
	if rest := set.Args(); len(rest) > 0 {
		return nil, fmt.Errorf("%q is not a flag: values are given as --flag=value, see %s --help", rest[0], p.Name)
	}
	return given, nil
}

// OneLine returns a text with what would be more than a line, or would do something to a terminal, as Go writes it.
func OneLine(text string) string {
	if !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// isSet reports whether a flag that stands bare was given, and not taken back.
func isSet(given []string) bool { return len(given) > 0 && !slices.Contains(given, "false") }
