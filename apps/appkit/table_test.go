package appkit

import (
	"strings"
	"testing"
)

// TestATableShowsWhatATerminalWouldObey: cells hold what clients and daemons say of themselves.
func TestATableShowsWhatATerminalWouldObey(t *testing.T) {
	table := Table{Columns: []Column{{Name: "HOST", Left: true}}}
	table.Add("a\x1b]0;owned\x07b\nc\td\u202e")
	if got := strings.Join(table.Lines(0), "|"); strings.ContainsAny(got, "\x1b\x07\n\u202e") || !strings.Contains(got, "]0;owned") {
		t.Errorf("%q", got)
	}
}
