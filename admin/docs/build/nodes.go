package build

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"strings"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/util"
)

// nodes renders what looks different from goldmark's own: code, headings, tables, comments.
type nodes struct{}

// RegisterFuncs tells goldmark what is rendered here.
func (n *nodes) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindFencedCodeBlock, n.code)
	r.Register(ast.KindHeading, n.heading)
	r.Register(ast.KindHTMLBlock, n.nothing)
	r.Register(ast.KindRawHTML, n.nothing)
	r.Register(extast.KindTable, n.table)
}

// nothing is rendered of a comment; other HTML is refused before.
func (*nodes) nothing(util.BufWriter, []byte, ast.Node, bool) (ast.WalkStatus, error) {
	return ast.WalkSkipChildren, nil
}

func (*nodes) heading(w util.BufWriter, _ []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	h := node.(*ast.Heading)
	id, _ := h.AttributeString("id")
	if entering {
		fmt.Fprintf(w, `<h%d id="%s">`, h.Level, id)
		return ast.WalkContinue, nil
	}
	if h.Level > 1 {
		fmt.Fprintf(w, ` <a class="anchor" href="#%s" aria-label="Link to this heading">#</a>`, id)
	}
	fmt.Fprintf(w, "</h%d>\n", h.Level)
	return ast.WalkContinue, nil
}

// table gives each table a frame that scrolls when the screen is narrow.
func (*nodes) table(w util.BufWriter, _ []byte, _ ast.Node, entering bool) (ast.WalkStatus, error) {
	text := "</table></div>\n"
	if entering {
		text = "<div class=\"table\" tabindex=\"0\"><table>\n"
	}
	_, err := w.WriteString(text)
	return ast.WalkContinue, err
}

// comment is what a shell does not read of a line.
var comment = regexp.MustCompile(`(^|\s)(#.*)$`)

// code renders a code block with its caption.
func (*nodes) code(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	b, err := blockOf(node.(*ast.FencedCodeBlock), source)
	if err != nil {
		return ast.WalkStop, err
	}
	kind := b.Language
	if b.Has("output") {
		kind += " output"
	}
	fmt.Fprintf(w, `<figure class="code %s">`, kind)
	if caption := captionOf(b); caption != "" {
		fmt.Fprintf(w, "<figcaption>%s</figcaption>", html.EscapeString(caption))
	}
	fmt.Fprintf(w, `<pre tabindex="0"><code>%s</code></pre></figure>`+"\n", colored(b))
	return ast.WalkContinue, nil
}

func captionOf(b Block) string {
	switch {
	case b.Value("file") != "":
		return b.Value("file")
	case b.Value("not-run") != "":
		return "Not run by the tests: " + b.Value("not-run")
	case b.Has("background"):
		return "In a terminal of its own"
	case b.Has("output"):
		return "Prints"
	}
	return ""
}

// colored is a block's text as HTML; a shell's comments stand back.
func colored(b Block) string {
	var out bytes.Buffer
	for line := range strings.Lines(b.Text) {
		line = strings.TrimRight(line, "\n")
		if m := comment.FindStringSubmatchIndex(line); m != nil && b.Language == "sh" {
			fmt.Fprintf(&out, `%s<span class="comment">%s</span>`+"\n", html.EscapeString(line[:m[4]]), html.EscapeString(line[m[4]:]))
			continue
		}
		out.WriteString(html.EscapeString(line) + "\n")
	}
	return strings.TrimRight(out.String(), "\n")
}
