package appkit

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"brokerd/protocol/wholefile"
)

// The flags that say where daemons are. They are taken from one source together: who names a broker on the command line does not
// want the lookup of a context as well.
const (
	flagBrokerTCP  = "nsqd-tcp-address"
	flagBrokerHTTP = "nsqd-http-address"
	flagLookup     = "lookupd-http-address"
)

func isAddress(name string) bool {
	return name == flagBrokerTCP || name == flagBrokerHTTP || name == flagLookup
}

// variablePrefix begins the names of environment variables.
const variablePrefix = "BROKERCTL_"

// variable is the environment variable of a flag.
func variable(name string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// source is where values come from that no flag has on the command line.
type source struct {
	name string
	get  func(f *flag.Flag) (texts []string, err error) // nil, nil: it says nothing
}

// resolve sets every flag that the command line does not have from the strongest source that has it.
func (p *program) resolve(cmd *cobra.Command, flags *flag.FlagSet, l *call) error {
	var sources []source
	if !l.command.Alone {
		var err error
		if sources, err = p.sources(flags, l.common); err != nil {
			return err
		}
	}
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	where := 0 // the source that says where daemons are, from 1 on
	if given(flagBrokerTCP) || given(flagBrokerHTTP) || given(flagLookup) {
		where = -1
	}
	for i, s := range sources {
		values, err := s.all(flags, given)
		if err != nil {
			return err
		}
		l.command.prefer(values)
		for name, texts := range values {
			if isAddress(name) && where != 0 && where != i+1 {
				continue
			}
			if isAddress(name) {
				where = i + 1
			}
			if err := set(cmd, name, texts, s.name); err != nil {
				return err
			}
		}
	}
	if l.common.format != "text" && l.common.format != "json" {
		return fmt.Errorf("--log-format must be text or json, not %q", l.common.format)
	}
	if l.command.Alone {
		return nil
	}
	var err error
	if l.token, err = p.token(l.common); err != nil {
		return err
	}
	l.tls, err = l.common.tls.config()
	return err
}

// prefer leaves out brokers where a source gives lookups too and the command takes one kind only.
func (c Command) prefer(values map[string][]string) {
	if len(values[flagLookup]) == 0 || !c.OneKind {
		return
	}
	delete(values, flagBrokerTCP)
	delete(values, flagBrokerHTTP)
}

// all returns what the source says of the flags that are not given yet.
func (s source) all(flags *flag.FlagSet, given func(string) bool) (map[string][]string, error) {
	values := make(map[string][]string)
	var failed error
	flags.VisitAll(func(f *flag.Flag) {
		if f.Name == "config" || f.Name == "version" || f.Name == "context" || given(f.Name) || failed != nil {
			return
		}
		texts, err := s.get(f)
		if err != nil {
			failed = fmt.Errorf("%w (%s)", err, s.name)
		}
		if texts != nil {
			values[f.Name] = texts
		}
	})
	return values, failed
}

// set gives a flag its values.
func set(cmd *cobra.Command, name string, texts []string, from string) error {
	for _, text := range texts {
		if err := cmd.Flags().Set(name, text); err != nil {
			return fmt.Errorf("--%s cannot be %q: %w (%s)", name, text, reason(err), from)
		}
	}
	return nil
}

// reason is what a flag's value has to say, without pflag's words around it.
func reason(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return err
		}
		err = inner.Unwrap()
	}
}

// sources returns the sources, strongest first.
func (p *program) sources(flags *flag.FlagSet, common *commonFlags) ([]source, error) {
	environment := source{"from the environment", p.fromEnvironment}
	contexts := NewContexts(p.proc.ConfigDir)
	name, chosen := common.context, common.context != ""
	if !chosen {
		name = p.env("context")
	}
	c, err := contexts.pick(name)
	if err != nil {
		return nil, err
	}
	context := source{"from the context " + c.Name, func(f *flag.Flag) ([]string, error) { return fromContext(f, c.Values) }}
	list := []source{environment}
	if chosen {
		list = []source{context, environment}
	}
	config := cmp.Or(common.config, p.env("config"))
	if config != "" {
		file, err := p.file(config, flags, common)
		if err != nil {
			return nil, err
		}
		list = append(list, file)
	}
	if !chosen && c.Name != "" {
		list = append(list, context)
	}
	p.warnUnknown(common)
	return list, nil
}

// env returns the environment variable of a flag; one that is empty counts as unset.
func (p *program) env(name string) string { return lookup(p.proc.Environ, variable(name)) }

func lookup(environ []string, variable string) string {
	for _, entry := range slices.Backward(environ) { // the last one counts
		if name, value, _ := strings.Cut(entry, "="); name == variable {
			return value
		}
	}
	return ""
}

func (p *program) fromEnvironment(f *flag.Flag) ([]string, error) {
	text := p.env(f.Name)
	if text == "" {
		return nil, nil
	}
	if !isRepeated(f) {
		return []string{text}, nil
	}
	var list []string
	for part := range strings.SplitSeq(text, separator(f)) {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list, nil
}

// warnUnknown notes variables that no command knows: they are mistakes. Kubernetes sets some for a service named brokerctl.
func (p *program) warnUnknown(common *commonFlags) {
	for _, entry := range p.proc.Environ {
		name, _, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, variablePrefix)
		flag := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		if !ours || p.known[flag] || flag == "token" || flag == "port" || strings.HasPrefix(flag, "port-") || strings.HasPrefix(flag, "service-") {
			continue
		}
		text := name + " has no effect: there is no such flag"
		if near := nearest(flag, p.known); near != "" {
			text += ", did you mean " + variable(near)
		}
		common.warnings = append(common.warnings, text)
	}
	slices.Sort(common.warnings)
}

// nearest returns the known name that a mistyped one is probably meant to be, or nothing.
func nearest(name string, known map[string]bool) (best string) {
	least := max(len(name)/3, 1) + 1
	for k := range known {
		if d := distance(name, k); d < least || d == least && best != "" && k < best {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters must be changed, added or left out to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// file reads the TOML file of --config. Keys that mean nothing to the tool are noted and ignored, so that tools may share a file.
func (p *program) file(path string, flags *flag.FlagSet, common *commonFlags) (source, error) {
	values := make(map[string]any)
	text, err := wholefile.Read(path)
	if err == nil {
		err = toml.Unmarshal(text, &values)
	}
	if err != nil {
		return source{}, fmt.Errorf("--config must be a readable TOML file, not %q: %w", path, err)
	}
	for key := range values {
		if flags.Lookup(strings.ReplaceAll(key, "_", "-")) == nil {
			common.unknownKeys = append(common.unknownKeys, key)
		}
	}
	slices.Sort(common.unknownKeys)
	return source{"from " + path, func(f *flag.Flag) ([]string, error) {
		key := strings.ReplaceAll(f.Name, "-", "_")
		value, ok := values[key]
		if !ok {
			return nil, nil
		}
		list, err := texts(f, value)
		if err != nil {
			return nil, fmt.Errorf("the key %s: %w", key, err)
		}
		return list, nil
	}}, nil
}

// fromContext returns what a context says of a flag. Of several addresses a flag that takes one gets the first.
func fromContext(f *flag.Flag, values map[string][]string) ([]string, error) {
	list := values[f.Name]
	if len(list) > 1 && !isRepeated(f) {
		list = list[:1]
	}
	return list, nil
}

// token reads the secret: of the file, else of the environment.
func (p *program) token(common *commonFlags) (string, error) {
	if common.tokenFile == "" {
		return p.env("token"), nil
	}
	text, err := wholefile.Read(common.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("--token-file: %s must hold one secret and nothing else", common.tokenFile)
	}
	if info, err := os.Stat(common.tokenFile); err == nil && openToOthers(info) {
		common.warnings = append(common.warnings, common.tokenFile+" can be read by everybody on this machine: chmod 600 "+common.tokenFile)
	}
	return token, nil
}

// line is what a command line says so far, for completion. What cannot be read says nothing: there is nobody to tell.
func (p *program) line(cmd *cobra.Command, args []string) Line {
	l := Line{Args: args, Flag: func(name string) []string { return flagValues(cmd, name) }}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	var brokers, lookups Strings
	flags.Var(&brokers, flagBrokerHTTP, "")
	flags.Var(&lookups, flagLookup, "")
	common := &commonFlags{context: strings.Join(flagValues(cmd, "context"), ""), config: strings.Join(flagValues(cmd, "config"), "")}
	flags.StringVar(&common.tokenFile, "token-file", "", "")
	common.tls.register(flags)
	shown := []string{"token-file", flagRootCA, flagTLSCert, flagTLSKey} // to daemons
	said := map[string]bool{}
	say := func(name string, texts []string) {
		if len(texts) > 0 && !said[name] {
			said[name] = flags.Set(name, texts[0]) == nil
		}
	}
	for _, name := range shown {
		say(name, flagValues(cmd, name))
	}
	l.Brokers, l.Lookups = flagValues(cmd, flagBrokerHTTP), flagValues(cmd, flagLookup)
	sources, _ := p.sources(flags, common)
	for _, s := range sources {
		values, _ := s.all(flags, func(string) bool { return false })
		if len(l.Brokers)+len(l.Lookups) == 0 {
			l.Brokers, l.Lookups = values[flagBrokerHTTP], values[flagLookup]
		}
		for _, name := range shown {
			say(name, values[name])
		}
	}
	l.Token, _ = p.token(common)
	l.TLS, _ = common.tls.config()
	return l
}

// flagValues returns what a flag was given on the line, one element for a flag that takes one value.
func flagValues(cmd *cobra.Command, name string) []string {
	f := cmd.Flags().Lookup(name)
	if f == nil || !f.Changed {
		return nil
	}
	return strings.Split(f.Value.String(), ",")
}

// Nowhere is the error of a command that was not told where the daemons are; text names its flags.
func Nowhere(text string) error {
	return Usagef("%s, here or by a context: brokerctl context add NAME --lookupd-http-address=HOST:PORT", text)
}
