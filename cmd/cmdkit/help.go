package cmdkit

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"brokerd/protocol/release"
)

// VersionLine is what --version prints. Called by the name of NSQ's daemon a program tells NSQ's version, in the shape that scripts
// know.
func (p Program) VersionLine(calledBy string) string {
	switch calledBy {
	case "nsqd", "nsqlookupd", "nsqadmin":
		return fmt.Sprintf("%s v%s (built w/%s)", calledBy, p.Version, runtime.Version())
	}
	return p.Name + " " + release.This().String()
}

const (
	helpColumn = 46  // where the explanations begin
	helpWidth  = 118 // where they wrap
)

// Help is what --help prints: every setting under its group, with its default.
func (p Program) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nUsage: %s [--flag=value ...]\n\n", p.VersionLine(""), p.About, p.Name)
	p.writeVerbs(&b)
	fmt.Fprintf(&b, "Each setting is taken from its flag, else from the environment (%s for --log-level, lists\n"+
		"comma-separated), else from the TOML file of --config (key log_level, durations also as milliseconds).\n"+
		"An empty value is none, unless the text below says what it means; in the environment it always is none.\n",
		p.variable("log-level"))
	group := ""
	for _, s := range p.Settings {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		WriteFlag(&b, s.Name+s.placeholder(), s.explanation())
	}
	b.WriteString("\nOther\n")
	WriteFlag(&b, flagConfig+"=FILE", "TOML file to read, with the keys of NSQ's own files; unknown keys are warned of")
	WriteFlag(&b, flagCheck, "judge file, environment and flags, with the files that they name, and exit: 0 when all is good, 2 otherwise")
	WriteFlag(&b, flagVersion, "print the version and exit")
	WriteFlag(&b, "help", "print this and exit")
	WriteFlag(&b, flagVerbose+", --"+flagWorkerID, "accepted for old scripts, without effect")
	b.WriteString("\nExit codes: " + exitCodes + "\n")
	return b.String()
}

// exitCodes is what the help says of them.
const exitCodes = "0 stopped as asked, or done; 1 could not start, or failed; 2 told something wrong."

// writeVerbs writes what the command does besides being a daemon.
func (p Program) writeVerbs(b *strings.Builder) {
	if len(p.Verbs) == 0 {
		return
	}
	b.WriteString("Instead of serving:\n")
	for _, v := range p.Verbs {
		b.WriteString("  " + v.usage(p) + "\n")
		writeColumn(b, 6, v.Help)
	}
	b.WriteByte('\n')
}

func (v Verb) usage(p Program) string {
	words := append([]string{p.Name, v.Name}, v.Args...)
	for _, name := range slices.Sorted(maps.Keys(v.Switches)) {
		words = append(words, "[--"+name+"]")
	}
	return strings.Join(words, " ")
}

// writeColumn writes a text wrapped into a column.
func writeColumn(b *strings.Builder, indent int, text string) {
	column := 0
	for _, word := range strings.Fields(text) {
		if column == 0 || column+1+len(word) > helpWidth {
			if column > 0 {
				b.WriteByte('\n')
			}
			fmt.Fprintf(b, "%*s", indent, "")
			column = indent
		} else {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}

// explanation is the help's text with the notes that can be derived.
func (s Setting) explanation() string {
	notes := []string{}
	if s.isList() {
		notes = append(notes, "may be repeated")
	}
	if s.Key != "" && s.Key != (Setting{Name: s.Name}).key() {
		notes = append(notes, "key "+s.Key)
	}
	if text, own := s.sharedDefault(); text != "" { // the same on every machine, as manual pages are made of it
		if own {
			text = "from the host's name"
		}
		notes = append(notes, "default "+text)
	}
	if len(notes) == 0 {
		return s.Help
	}
	return s.Help + " (" + strings.Join(notes, ", ") + ")"
}

// WriteFlag writes a flag, whose name comes without dashes, and its explanation, wrapped into the right-hand column.
func WriteFlag(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, "  --%-*s", helpColumn-4, name)
	column := max(helpColumn, len(name)+4)
	if column > helpColumn {
		column = helpWidth // the name takes the line
	}
	for i, word := range strings.Fields(text) {
		switch {
		case column+1+len(word) > helpWidth:
			fmt.Fprintf(b, "\n%*s", helpColumn, "")
			column = helpColumn
		case i > 0:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}
