package build

import (
	"strings"

	"github.com/yuin/goldmark/ast"
)

// section is what is found: the part of a page below one heading.
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
	}
	return list
}
