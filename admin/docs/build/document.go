package build

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// document is one Markdown file, parsed.
type document struct {
	file     string // from the root of the project
	text     []byte
	root     ast.Node
	title    string // of the first level's heading
	headings []heading
}

// heading is one heading of a page.
type heading struct {
	Level     int
	Title, ID string
}

// markdown is the one dialect of all pages: GitHub's as far as pages need it, so that files read the same there.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Linkify, extension.Strikethrough,
		extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))), // no style attribute: pages forbid it
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(&nodes{}, 100))),
)

func parse(source []byte) ast.Node { return markdown.Parser().Parse(text.NewReader(source)) }

// read parses a file of the project.
func read(project fs.FS, file string) (*document, error) {
	source, err := fs.ReadFile(project, file)
	if err != nil {
		return nil, err
	}
	d := &document{file: file, text: source, root: parse(source)}
	err = ast.Walk(d.root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if h, ok := n.(*ast.Heading); ok && entering {
			id, _ := h.AttributeString("id")
			name, _ := id.([]byte)
			d.headings = append(d.headings, heading{h.Level, plain(h, source), string(name)})
		}
		if entering && isHTML(n, source) {
			return ast.WalkStop, fmt.Errorf("%s: HTML is not allowed", file)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := Blocks(source); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i, h := range d.headings {
		if (h.Level == 1) != (i == 0) {
			return nil, fmt.Errorf("%s: must begin with a heading of the first level, and have no other such: %q", file, h.Title)
		}
	}
	if len(d.headings) == 0 {
		return nil, fmt.Errorf("%s: has no heading", file)
	}
	d.title = d.headings[0].Title
	return d, nil
}

// isHTML reports whether a node is HTML other than a comment.
func isHTML(n ast.Node, source []byte) bool {
	var html string
	switch n := n.(type) {
	case *ast.HTMLBlock:
		html = string(n.Lines().Value(source))
	case *ast.RawHTML:
		html = string(n.Segments.Value(source))
	default:
		return false
	}
	return !strings.HasPrefix(strings.TrimSpace(html), "<!--")
}

// links returns the destinations of a document's links and pictures.
func (d *document) links() []*[]byte {
	var list []*[]byte
	_ = ast.Walk(d.root, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker returns no error
		switch n := n.(type) {
		case *ast.Link:
			if entering {
				list = append(list, &n.Destination)
			}
		case *ast.Image:
			if entering {
				list = append(list, &n.Destination)
			}
		}
		return ast.WalkContinue, nil
	})
	return list
}

// target is where a link leads.
type target struct {
	file, anchor string // file is from the root of the project; empty for a link to elsewhere
}

// resolve says where a link of the document leads.
func (d *document) resolve(destination string) target {
	if strings.Contains(destination, "://") || strings.HasPrefix(destination, "mailto:") {
		return target{}
	}
	file, anchor, _ := strings.Cut(destination, "#")
	if file == "" {
		return target{d.file, anchor}
	}
	return target{path.Join(path.Dir(d.file), file), anchor}
}

// CheckLinks returns an error for each link of the Markdown files that leads nowhere: to a file that is not in the project, or to a heading
// that is not in the file.
func CheckLinks(project fs.FS, files []string) []error {
	var errs []error
	known := map[string]*document{}
	for _, file := range files {
		d, err := cached(project, known, file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, link := range d.links() {
			to := d.resolve(string(*link))
			if to.file == "" {
				continue
			}
			if _, err := fs.Stat(project, to.file); err != nil {
				errs = append(errs, fmt.Errorf("%s: the link %s leads nowhere", file, *link))
				continue
			}
			if to.anchor == "" || path.Ext(to.file) != ".md" {
				continue
			}
			other, err := cached(project, known, to.file)
			if err != nil || !other.has(to.anchor) {
				errs = append(errs, fmt.Errorf("%s: there is no heading for the link %s", file, *link))
			}
		}
	}
	return errs
}

func cached(project fs.FS, known map[string]*document, file string) (*document, error) {
	if d := known[file]; d != nil {
		return d, nil
	}
	d, err := read(project, file)
	if err == nil {
		known[file] = d
	}
	return d, err
}

// has reports whether a heading has the id.
func (d *document) has(id string) bool {
	for _, h := range d.headings {
		if h.ID == id {
			return true
		}
	}
	return false
}
