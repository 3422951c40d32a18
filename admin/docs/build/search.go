package build

import (
	"strings"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
)

// section is what is found: the part of a page below one heading, or a row that tells of a flag.
type section struct {
	Page    string `json:"p"` // its address below /docs/
	Title   string `json:"t"` // of the page
	Heading string `json:"h,omitempty"`
	Anchor  string `json:"a,omitempty"`
	Text    string `json:"x"`
}

// sections cuts a page at its headings.
func sections(d *document, e Entry) []section {
	list := []section{{Page: e.Slug, Title: d.title}}
	var flags []section
	for n := d.root.FirstChild(); n != nil; n = n.NextSibling() {
		if h, ok := n.(*ast.Heading); ok {
			if h.Level > 1 {
				id, _ := h.AttributeString("id")
				name, _ := id.([]byte)
				list = append(list, section{Page: e.Slug, Title: d.title, Heading: plain(h, d.text), Anchor: string(name)})
			}
			continue
		}
		last := &list[len(list)-1]
		last.Text = strings.TrimSpace(last.Text + " " + plain(n, d.text))
		flags = append(flags, flagsOf(n, d, *last)...)
	}
	return append(list, flags...)
}

// flagsOf makes a section of each row of a table that tells of one flag, so that it is found by its name.
func flagsOf(n ast.Node, d *document, within section) []section {
	table, ok := n.(*extast.Table)
	if !ok {
		return nil
	}
	var list []section
	for row := table.FirstChild(); row != nil; row = row.NextSibling() {
		name := plain(row.FirstChild(), d.text)
		if !strings.HasPrefix(name, "--") {
			continue
		}
		found := section{Page: within.Page, Title: within.Title, Heading: name, Anchor: within.Anchor}
		for cell := row.FirstChild().NextSibling(); cell != nil; cell = cell.NextSibling() {
			found.Text = strings.TrimSpace(found.Text + " " + plain(cell, d.text))
		}
		list = append(list, found)
	}
	return list
}
