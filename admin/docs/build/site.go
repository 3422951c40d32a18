package build

import (
	"bytes"
	_ "embed" // the frame of a page
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// folder is where the Markdown is in the project.
const folder = "docs"

//go:embed page.html
var frameText string

var frame = template.Must(template.New("page").Parse(frameText))

// site is what pages are made of.
type site struct {
	project fs.FS
	pages   map[string]*document // by their file, from the root of the project
	menu    []Group
	out     map[string][]byte
}

// Site makes all pages of the project's docs/, by their path below /docs/: HTML, pictures, and search.json. The error says everything that is wrong.
func Site(project fs.FS) (map[string][]byte, error) {
	s := &site{project: project, pages: map[string]*document{}, out: map[string][]byte{}}
	files, err := Pages(project)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if s.pages[file], err = read(project, file); err != nil {
			return nil, err
		}
	}
	if s.pages[folder+"/"+homeFile] == nil {
		return nil, errors.New("docs/README.md, the first page, is not there")
	}
	if s.menu, err = menuOf(s.pages[folder+"/"+homeFile]); err != nil {
		return nil, err
	}
	errs := append(CheckLinks(project, files), s.checkMenu()...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var index []section
	for _, e := range s.entries() {
		d := s.pages[folder+"/"+e.File]
		index = append(index, sections(d, e)...)
		if err := s.render(d, e); err != nil {
			return nil, fmt.Errorf("%s: %w", d.file, err)
		}
	}
	s.out["search.json"], err = asLines(index)
	return s.out, err
}

// asLines is JSON with a section on each line, so that a change of one page changes a few lines of a file that is kept.
func asLines(index []section) ([]byte, error) {
	lines := make([][]byte, len(index))
	for i := range index {
		var err error
		if lines[i], err = json.Marshal(index[i]); err != nil {
			return nil, err
		}
	}
	return slices.Concat([]byte("[\n"), bytes.Join(lines, []byte(",\n")), []byte("\n]\n")), nil
}

// Pages returns the Markdown files of the project's docs/, from its root.
func Pages(project fs.FS) ([]string, error) {
	var files []string
	err := fs.WalkDir(project, folder, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && path.Ext(name) == ".md" {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

// entries returns all pages in the menu's order.
func (s *site) entries() []Entry {
	var list []Entry
	for _, g := range s.menu {
		list = append(list, g.Pages...)
	}
	return list
}

// checkMenu returns an error for each page that is not in the menu exactly once.
func (s *site) checkMenu() []error {
	var errs []error
	count := map[string]int{}
	for _, e := range s.entries() {
		count[folder+"/"+e.File]++
	}
	for file := range s.pages {
		if count[file] != 1 {
			errs = append(errs, fmt.Errorf("%s is in the menu of docs/README.md %d times, not once", file, count[file]))
		}
	}
	for file := range count {
		if s.pages[file] == nil {
			errs = append(errs, fmt.Errorf("the menu of docs/README.md names %s, which is no page", file))
		}
	}
	return errs
}

// render makes one page.
func (s *site) render(d *document, e Entry) error {
	up := strings.Repeat("../", strings.Count(e.Slug, "/"))
	if err := s.rewrite(d, up); err != nil {
		return err
	}
	var body bytes.Buffer
	if err := markdown.Renderer().Render(&body, d.text, d.root); err != nil {
		return err
	}
	html, err := s.inlined(strings.ReplaceAll(body.String(), "<th></th>", "<td></td>"), d) // an empty head is none
	if err != nil {
		return err
	}
	if e.Slug == "" {
		html = asCards(html)
	}
	all := s.entries()
	at := slices.IndexFunc(all, func(o Entry) bool { return o.File == e.File })
	page := map[string]any{
		"Title": d.title, "Slug": e.Slug, "Up": up, "Menu": s.menu, "Home": e.Slug == "", "Body": template.HTML(html), // made of Markdown without HTML
	}
	if at > 0 {
		page["Before"] = all[at-1]
	}
	if at+1 < len(all) {
		page["After"] = all[at+1]
	}
	toc := slices.DeleteFunc(slices.Clone(d.headings), func(h heading) bool { return h.Level != 2 && h.Level != 3 })
	if len(toc) > 1 && e.Slug != "" {
		page["Contents"] = toc
	}
	var out bytes.Buffer
	if err := frame.Execute(&out, page); err != nil {
		return err
	}
	name := e.Slug
	if name == "" {
		name = "index"
	}
	s.out[name+".html"] = out.Bytes()
	return nil
}

// rewrite turns the links between files into links between pages, and takes along what pages show or offer. A link to a file of the
// project outside of docs/, which a reader of the site does not have, becomes plain text.
func (s *site) rewrite(d *document, up string) error {
	var outside []*ast.Link
	err := ast.Walk(d.root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			to := d.resolve(string(n.Destination))
			inside := strings.HasPrefix(to.file, folder+"/")
			if to.file != "" && !inside {
				outside = append(outside, n)
			}
			return ast.WalkContinue, s.readdress(&n.Destination, to, up)
		case *ast.Image:
			return ast.WalkContinue, s.readdress(&n.Destination, d.resolve(string(n.Destination)), up)
		}
		return ast.WalkContinue, nil
	})
	for _, n := range outside {
		parent := n.Parent()
		for child := n.FirstChild(); child != nil; child = n.FirstChild() {
			parent.InsertBefore(parent, n, child)
		}
		parent.RemoveChild(parent, n)
	}
	return err
}

// readdress gives a link to a file of docs/ its address on the site.
func (s *site) readdress(destination *[]byte, to target, up string) error {
	inner, inside := strings.CutPrefix(to.file, folder+"/")
	if !inside {
		return nil
	}
	address := up + inner
	if path.Ext(inner) == ".md" {
		address = up + slugOf(inner)
	} else {
		text, err := fs.ReadFile(s.project, to.file)
		if err != nil {
			return err
		}
		s.out[inner] = text
	}
	if address == "" {
		address = "./"
	}
	if to.anchor != "" {
		address += "#" + to.anchor
	}
	*destination = []byte(address)
	return nil
}

// explained is an item of the menu on the first page with what it says of its page.
var explained = regexp.MustCompile(`(<li><a [^>]*>[^<]*</a>): (.)`)

// asCards makes two lines of each item of the menu, as the first page shows them in a box of its own: the link, and a sentence.
func asCards(html string) string {
	return explained.ReplaceAllStringFunc(html, func(item string) string {
		m := explained.FindStringSubmatch(item)
		return m[1] + " " + strings.ToUpper(m[2])
	})
}

var (
	svgImage = regexp.MustCompile(`<img src="(?:\.\./)*([^"]+\.svg)" alt="([^"]*)"[^>]*>`)
	svgStyle = regexp.MustCompile(`(?s)\s*<style>.*?</style>`)
)

// inlined puts drawings into the page instead of linking to them, without their own colours, so that the page's theme gives them theirs.
func (s *site) inlined(html string, d *document) (string, error) {
	var failed error
	html = svgImage.ReplaceAllStringFunc(html, func(tag string) string {
		m := svgImage.FindStringSubmatch(tag)
		svg, ok := s.out[m[1]]
		if !ok {
			failed = fmt.Errorf("%s: no drawing %s", d.file, m[1])
			return tag
		}
		text := svgStyle.ReplaceAllString(string(svg), "")
		return strings.Replace(text, "<svg ", `<svg role="img" aria-label="`+m[2]+`" class="drawing" `, 1)
	})
	return html, failed
}
