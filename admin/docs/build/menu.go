package build

import (
	"fmt"
	"path"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// Group is a heading of the menu with its pages.
type Group struct {
	Title string
	Pages []Entry
}

// Entry is one page in the menu.
type Entry struct {
	Title string
	File  string // below docs/
	Slug  string // its address below /docs/
}

// homeFile is the first page, which has the menu.
const homeFile = "README.md"

// menuOf reads the menu from the first page: the lists below its headings of the second level.
func menuOf(d *document) ([]Group, error) {
	menu := []Group{{Pages: []Entry{{Title: "Start", File: homeFile}}}}
	for n := d.root.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Heading:
			if n.Level == 2 {
				menu = append(menu, Group{Title: plain(n, d.text)})
			}
		case *ast.List:
			if len(menu) == 1 {
				continue
			}
			for item := n.FirstChild(); item != nil; item = item.NextSibling() {
				link := firstLink(item)
				if link == nil {
					return nil, fmt.Errorf("%s: an item of the menu has no link: %s", homeFile, plain(item, d.text))
				}
				file := path.Clean(string(link.Destination))
				last := &menu[len(menu)-1]
				last.Pages = append(last.Pages, Entry{Title: plain(link, d.text), File: file, Slug: slugOf(file)})
			}
		}
	}
	return menu, nil
}

// slugOf returns the address of a page below /docs/.
func slugOf(file string) string {
	if file == homeFile {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(file, ".md"))
}

func firstLink(n ast.Node) *ast.Link {
	var found *ast.Link
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker returns no error
		if link, ok := n.(*ast.Link); ok && entering {
			found = link
			return ast.WalkStop, nil
		}
		return ast.WalkContinue, nil
	})
	return found
}

// plain returns a node's text without its marks.
func plain(n ast.Node, text []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker returns no error
		if !entering {
			if n.Type() == ast.TypeBlock {
				b.WriteByte(' ')
			}
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			b.Write(n.Segment.Value(text))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(n.Value)
		case *ast.AutoLink:
			b.Write(n.Label(text))
		case *ast.FencedCodeBlock:
			for i := range n.Lines().Len() {
				line := n.Lines().At(i)
				b.Write(line.Value(text))
			}
		}
		return ast.WalkContinue, nil
	})
	return strings.Join(strings.Fields(b.String()), " ")
}
