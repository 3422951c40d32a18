package build

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// Block is a fenced code block of a page.
type Block struct {
	Line     int // of its first line of code, from 1
	Language string
	Text     string
	attrs    map[string]string
}

// languages are those a code block may have.
var languages = []string{"sh", "text", "json", "toml", "yaml", "go", "js", "python", "ruby", "java", "php", "ini", "xml"}

// words are what may stand behind the language, with a value or without.
var words = map[string]bool{"background": false, "stopped": false, "network": false, "fails": false, "output": false,
	"ready": true, "needs": true, "not-run": true, "file": true}

var attr = regexp.MustCompile(`^\s*([a-z-]+)(?:="([^"]*)")?`)

// Has reports whether a word stands behind the language.
func (b Block) Has(word string) bool { _, ok := b.attrs[word]; return ok }

// Value returns the value of a word behind the language.
func (b Block) Value(word string) string { return b.attrs[word] }

// parseInfo reads what stands behind the fence.
func (b *Block) parseInfo(info string) error {
	language, rest, _ := strings.Cut(info, " ")
	if !slices.Contains(languages, language) {
		return fmt.Errorf("line %d: a code block must say its language, one of %q, not %q", b.Line, languages, language)
	}
	b.Language, b.attrs = language, map[string]string{}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		m := attr.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("line %d: %q behind a code block's language is no word", b.Line, rest)
		}
		withValue, known := words[m[1]]
		if !known || withValue != strings.Contains(m[0], "=") {
			return fmt.Errorf("line %d: a code block cannot have %q", b.Line, m[0])
		}
		b.attrs[m[1]] = m[2]
		rest = rest[len(m[0]):]
	}
	return nil
}

// Blocks returns the code blocks of a Markdown text in order. A block that is indented instead of fenced is an error.
func Blocks(text []byte) ([]Block, error) {
	var blocks []Block
	err := ast.Walk(parse(text), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.CodeBlock:
			return ast.WalkStop, fmt.Errorf("line %d: a code block must be fenced, so that it can say its language", lineOf(n, text))
		case *ast.FencedCodeBlock:
			b, err := blockOf(n, text)
			if err != nil {
				return ast.WalkStop, err
			}
			blocks = append(blocks, b)
		}
		return ast.WalkContinue, nil
	})
	return blocks, err
}

func blockOf(n *ast.FencedCodeBlock, text []byte) (Block, error) {
	b := Block{Line: lineOf(n, text)}
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		b.Text += string(line.Value(text))
	}
	info := ""
	if n.Info != nil {
		info = string(n.Info.Segment.Value(text))
	}
	return b, b.parseInfo(info)
}

// lineOf returns the line on which a block's own text begins.
func lineOf(n ast.Node, text []byte) int {
	if n.Lines() == nil || n.Lines().Len() == 0 {
		return 0
	}
	return strings.Count(string(text[:n.Lines().At(0).Start]), "\n") + 1
}
