package appkit

import (
	"strings"
	"testing"
)

// TestATableShowsWhatATerminalWouldObey: cells hold what clients and daemons say of themselves.
func TestATableShowsWhatATerminalWouldObey(t *testing.T) {
	table := Table{Columns: []Column{{Name: "HOST", Left: true}}}
	table.Add("a\x1b]0;owned\x07b\nc\td\u202e\u2028e")
	if got := strings.Join(table.Lines(0), "|"); strings.ContainsAny(got, "\x1b\x07\n\t\u202e\u2028") || !strings.Contains(got, "]0;owned") {
		t.Errorf("%q", got)
	}
}

// TestPlainKeepsLines: a body has lines, columns and whatever else it is made of, but nothing that a terminal would obey.
func TestPlainKeepsLines(t *testing.T) {
	if got, want := Plain("a\n\tb\u2028c\x1b[2J\r\u202e"), "a\n\tb\u2028c\ufffd[2J\ufffd\ufffd"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
