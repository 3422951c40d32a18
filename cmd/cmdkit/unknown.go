package cmdkit

import (
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Unknown is something that was said and that no setting listens to. Its value is not kept: it may be a secret.
type Unknown struct {
	Kind    string // "key" of the file, or environment "variable"
	Name    string
	Nearest string // the known name that was probably meant; empty when none is close
}

// WarnOfIgnored logs a line for each unknown key and variable, and one for all settings that have no effect.
func (r Resolved) WarnOfIgnored(log *slog.Logger) {
	for _, u := range r.Unknown {
		attrs := []any{u.Kind, u.Name}
		if u.Kind == kindKey {
			attrs = append(attrs, "file", r.File)
		}
		if u.Nearest != "" {
			attrs = append(attrs, "did_you_mean", u.Nearest)
		}
		log.Warn("ignored an unknown "+u.Kind, attrs...)
	}
	if len(r.Idle) > 0 {
		log.Warn("set without effect", "settings", r.Idle)
	}
}

// text is the warning as one line; file is the one that --config named.
func (u Unknown) text(file string) string {
	text := "ignored an unknown " + u.Kind + ": " + u.Name
	if u.Kind == kindKey {
		text += " of " + file
	}
	if u.Nearest != "" {
		text += "; did you mean " + u.Nearest + "?"
	}
	return text
}

const (
	kindKey      = "key"
	kindVariable = "variable"
)

// names returns every name that somebody might try for a setting in lower case with underscores, each with what write makes of
// the setting. The flag's name is tried in the file, and the file's in the environment, as some of NSQ's differ.
func (p Program) names(write func(Setting) string) map[string]string {
	names := make(map[string]string)
	for _, s := range p.Settings {
		names[s.key()] = write(s)
		names[Setting{Name: s.Name}.key()] = write(s)
	}
	return names
}

// withoutEffect are flags that NSQ's old scripts have, and keys of its old files.
var withoutEffect = []string{flagVerbose, flagWorkerID}

// unknownKeys lists the keys of f that no setting has.
func (p Program) unknownKeys(f file) []Unknown {
	known := make(map[string]bool)
	for _, s := range p.Settings {
		known[s.key()] = true
	}
	for _, name := range withoutEffect {
		known[Setting{Name: name}.key()] = true
	}
	names := p.names(Setting.key)
	var unknown []Unknown
	for _, key := range slices.Sorted(maps.Keys(f.values)) {
		if !known[key] {
			unknown = append(unknown, Unknown{kindKey, key, nearest(key, names)})
		}
	}
	return unknown
}

// unknownVariables lists the variables of env that begin with the program's name and that no setting has.
func (p Program) unknownVariables(env map[string]string) []Unknown {
	known := map[string]bool{p.variable(flagConfig): true}
	for _, s := range p.Settings {
		known[p.variable(s.Name)] = true
	}
	for _, name := range withoutEffect {
		known[p.variable(name)] = true
	}
	names := p.names(func(s Setting) string { return p.variable(s.Name) })
	names[flagConfig] = p.variable(flagConfig)
	var unknown []Unknown
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		rest, ok := strings.CutPrefix(variable, p.variable(""))
		if ok && !known[variable] && !ofAnOrchestrator(rest, env[variable]) {
			unknown = append(unknown, Unknown{kindVariable, variable, nearest(rest, names)})
		}
	}
	return unknown
}

// Kubernetes tells every container of every service: of one that is named brokerd, BROKERD_SERVICE_HOST, BROKERD_SERVICE_PORT_HTTP,
// BROKERD_PORT_4150_TCP_ADDR and BROKERD_PORT=tcp://10.0.0.1:4150, and of brokerd-http the same behind BROKERD_HTTP_. Docker's
// links have the latter form too, and BROKERD_NAME=/web/brokerd.
var (
	serviceVariable = regexp.MustCompile(`(^|_)(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(START|END|PROTO|PORT|ADDR))?)$`)
	serviceURL      = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// ofAnOrchestrator reports whether a variable, named without the program's name, says where a service is rather than what a
// setting shall be.
func ofAnOrchestrator(rest, value string) bool {
	isPort := rest == "PORT" || strings.HasSuffix(rest, "_PORT")
	isLink := rest == "NAME" && strings.HasPrefix(value, "/")
	return serviceVariable.MatchString(rest) || isPort && serviceURL.MatchString(value) || isLink
}

// flagMeant says which flag may have been meant, when err is about one that does not exist.
func (p Program) flagMeant(err error) string {
	name, ok := strings.CutPrefix(err.Error(), undefinedFlag)
	if !ok {
		return ""
	}
	names := p.names(func(s Setting) string { return "--" + s.Name })
	for _, own := range []string{flagConfig, flagVersion, "help"} {
		names[own] = "--" + own
	}
	if meant := nearest(name, names); meant != "" {
		return " (did you mean " + meant + "?)"
	}
	return ""
}

// undefinedFlag begins package flag's error for an unknown flag.
const undefinedFlag = "flag provided but not defined: -"

// nearest returns what stands in names at the name that is closest to word, or empty when none can have been meant: when more than a
// third of the letters would have to change.
func nearest(word string, names map[string]string) string {
	const longest = 100 // letters of a word that is looked at: beyond, it is no slip of the pen
	word = strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	if len(word) > longest {
		return ""
	}
	best, least := "", len(word)/3+1
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if d := distance(word, name); d < least {
			best, least = names[name], d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to turn a into b.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
