package channel

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheDocNamesEachMethod holds that the package comment has each exported method of Machine in its list, once, and no other.
func TestTheDocNamesEachMethod(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var has []string
	text := ""
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			text = f.Doc.Text()
		}
		for _, d := range f.Decls {
			if m, ok := d.(*ast.FuncDecl); ok && m.Recv != nil && m.Name.IsExported() && receiver(m) == "Machine" {
				has = append(has, m.Name.Name)
			}
		}
	}
	_, list, _ := strings.Cut(text, "# What a Machine is told, and asked")
	list, _, _ = strings.Cut(list, "\n# ")
	var named []string
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, "\t") {
			named = append(named, regexp.MustCompile(`\b[A-Z]\w*`).FindAllString(line, -1)...)
		}
	}
	slices.Sort(has)
	slices.Sort(named)
	if !slices.Equal(has, named) {
		t.Errorf("Machine has %q\nthe package comment names %q", has, named)
	}
}

// receiver returns the type whose method it is.
func receiver(m *ast.FuncDecl) string {
	of := m.Recv.List[0].Type
	if p, ok := of.(*ast.StarExpr); ok {
		of = p.X
	}
	if name, ok := of.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}
