package cmdkit

import (
	"fmt"
	"os"
	"strings"
)

// Reference is the page of the documentation on the program's settings and verbs, in Markdown. It is the same on every machine.
func (p Program) Reference() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Settings of %s\n\n%s: %s. This page is made of the list of settings in the code.\n\n", p.Name, p.Name, p.About)
	fmt.Fprintf(&b, "Each setting is taken from its flag, else from the environment, else from the TOML file of `--config`, else it is the default. The\n"+
		"variable is the flag's name in capitals behind `%s`: `%s` for `--log-level`. The key in the file is the flag's name with `_`,\n"+
		"`log_level`, unless another one is named. Flags have each of Go's forms: `-log-level=debug`, `-log-level debug`, `--log-level=debug`.\n"+
		"Durations are written as `250ms`, `60s`, `1h30m`. Lists are repeated flags, commas in the environment, arrays in the file.\n",
		p.variable(""), p.variable("log-level"))
	group := ""
	for _, s := range p.Settings {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n## %s\n\n| flag | default | |\n|---|---|---|\n", group)
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", s.Name, s.referenceDefault(), s.referenceText())
	}
	fmt.Fprintf(&b, "\n## Other\n\n| flag | |\n|---|---|\n| `--%s` | TOML file to read, with the keys of NSQ's own files |\n"+
		"| `--%s` | judge file, environment and flags, with the files that they name, and exit: 0 when all is good, 2 otherwise |\n"+
		"| `--%s` | print the version and exit |\n| `--help` | print all of this and exit |\n| `--%s`, `--%s` | accepted for old scripts, without effect |\n",
		flagConfig, flagCheck, flagVersion, flagVerbose, flagWorkerID)
	if len(p.Verbs) > 0 {
		b.WriteString("\n## Instead of serving\n\n| command | |\n|---|---|\n")
	}
	for _, v := range p.Verbs {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v.usage(p), cell(v.Help))
	}
	b.WriteString("\n## Exit codes\n\n" + exitCodes + "\n")
	return b.String()
}

// referenceDefault is the default as the page shows it; what a machine's name decides is told as that.
func (s Setting) referenceDefault() string {
	text, own := s.sharedDefault()
	switch {
	case text == "":
		return ""
	case own && s.Name == "node-id":
		return "from the host's name"
	case own:
		return "the host's name"
	}
	return "`" + cell(text) + "`"
}

// sharedDefault is defaultText, and whether it is this machine's own, which its name decides.
func (s Setting) sharedDefault() (text string, own bool) {
	text = s.defaultText()
	host, err := os.Hostname()
	return text, text != "" && (s.Name == "node-id" || err == nil && strings.Trim(text, `"`) == host)
}

func (s Setting) referenceText() string {
	text := cell(s.Help)
	if s.isList() {
		text += "; a list"
	}
	if s.Key != "" && s.Key != (Setting{Name: s.Name}).key() {
		text += "; key `" + s.Key + "`"
	}
	return text
}

// cell makes a text one for a table's cell: a vertical bar would end it, and what looks like HTML is none.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`, "_", `\_`).Replace(text)
}
