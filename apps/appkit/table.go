package appkit

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"brokerd/protocol/httpapi"
)

// Column is one of a table's.
type Column struct {
	Name  string
	Left  bool // aligned to the left, as text is
	Extra bool // may be left out where there is no room, the last one first
}

// Table is rows of cells under columns.
type Table struct {
	Columns []Column
	Rows    [][]string
	// Color marks a whole cell once it is padded; nil marks none.
	Color func(column, text string) string
}

// Add adds a row. What a terminal would obey is shown as another character: cells hold what clients and daemons say of themselves.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Plain returns a text of some lines in which what a terminal would obey is shown instead.
func Plain(text string) string { return httpapi.Printable(text, "\n\t\u2028\u2029") }

// gap is between columns.
const gap = 2

// shortest is how far cells that are too long are cut, in characters.
const shortest = 12

// Lines lays the table out in so many columns of a terminal; 0 is no limit. Where it does not fit, extra columns are left out, then the
// longest cells are cut, which ends them with "…"; the last line says so then.
func (t *Table) Lines(width int) []string {
	columns, widths := t.measure()
	var left []string // columns that are left out
	for i := len(columns) - 1; i >= 0 && width > 0 && total(columns, widths) > width; i-- {
		if c := t.Columns[columns[i]]; c.Extra {
			left = append([]string{c.Name}, left...)
			columns = append(columns[:i:i], columns[i+1:]...)
		}
	}
	cut := false
	for width > 0 && total(columns, widths) > width {
		longest := columns[0]
		for _, c := range columns {
			if t.Columns[c].Left && (widths[c] > widths[longest] || !t.Columns[longest].Left) {
				longest = c
			}
		}
		if widths[longest] <= shortest {
			return t.narrow(columns, widths, width)
		}
		widths[longest] = max(widths[longest]-(total(columns, widths)-width), shortest)
		cut = true
	}
	lines := []string{t.line(t.names(), columns, widths)}
	for _, row := range t.Rows {
		lines = append(lines, t.line(row, columns, widths))
	}
	if note := cutNote(left, cut); note != "" {
		lines = append(lines, Shorten(note, width))
	}
	return lines
}

// narrow is Lines for a terminal too small for any of it: each line ends where the terminal does.
func (t *Table) narrow(columns, widths []int, width int) []string {
	plain := Table{Columns: t.Columns}
	lines := []string{plain.line(t.names(), columns, widths)}
	for _, row := range t.Rows {
		lines = append(lines, plain.line(row, columns, widths))
	}
	lines = append(lines, cutNote(nil, true))
	for i := range lines {
		lines[i] = Shorten(lines[i], width)
	}
	return lines
}

func (t *Table) names() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

func cutNote(left []string, cut bool) string {
	var notes []string
	if len(left) > 0 {
		notes = append(notes, "not shown: "+strings.Join(left, ", "))
	}
	if cut {
		notes = append(notes, "… ends what was cut")
	}
	if len(notes) == 0 {
		return ""
	}
	return "(" + strings.Join(notes, "; ") + "; --json has all)"
}

// measure returns the columns, all of them, and how wide each must be.
func (t *Table) measure() (columns, widths []int) {
	for i, c := range t.Columns {
		columns = append(columns, i)
		widths = append(widths, utf8.RuneCountInString(c.Name))
	}
	for _, row := range t.Rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return columns, widths
}

func total(columns, widths []int) int {
	sum := -gap
	for _, c := range columns {
		sum += widths[c] + gap
	}
	return sum
}

// line lays one row out.
func (t *Table) line(cells []string, columns, widths []int) string {
	var b strings.Builder
	for n, c := range columns {
		text := Shorten(cells[c], widths[c])
		pad := strings.Repeat(" ", widths[c]-utf8.RuneCountInString(text))
		if t.Color != nil {
			text = t.Color(t.Columns[c].Name, text)
		}
		if n > 0 {
			b.WriteString(strings.Repeat(" ", gap))
		}
		if t.Columns[c].Left {
			b.WriteString(text + pad)
		} else {
			b.WriteString(pad + text)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// Shorten cuts text to so many characters, the last of which is … then. Characters that would move the cursor or the reader's eye,
// such as escapes and marks of writing direction, become �.
func Shorten(text string, width int) string {
	text = httpapi.Printable(text, "")
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(width-1, 0)]) + "…"
}

// Write writes the table as Lines lays it out.
func (t *Table) Write(w io.Writer, width int) {
	for _, line := range t.Lines(width) {
		fmt.Fprintln(w, line)
	}
}
