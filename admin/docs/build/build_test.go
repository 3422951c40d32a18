package build

import (
	"strings"
	"testing"
	"testing/fstest"
)

// project is a small one that is right.
func project() fstest.MapFS {
	return fstest.MapFS{
		"docs/README.md":         {Data: []byte("# Home\n\n## Use\n\n- [A page](a.md): first.\n- [B](deep/B.md): second.\n")},
		"docs/a.md":              {Data: []byte("# A & page\n\n<!-- a comment -->\n[b](deep/B.md#two), [code](../main.go)\n\n```sh\nls # files\n```\n")},
		"docs/deep/B.md":         {Data: []byte("# B\n\n## Two\n\n[home](../README.md)\n\n![drawn](../images/d.svg)\n\n| a | |\n|---|---|\n| 1 | `2` |\n| `--flag` | what it does |\n")},
		"docs/images/d.svg":      {Data: []byte(`<svg viewBox="0 0 1 1"><style>.box{fill:red}</style><rect class="box"/></svg>`)},
		"main.go":                {Data: []byte("package main\n")},
		"docs/images/unused.png": {Data: []byte("x")},
	}
}

func TestSiteHasAPageForEachFile(t *testing.T) {
	site, err := Site(project())
	if err != nil {
		t.Fatal(err)
	}
	for name, parts := range map[string][]string{
		"index.html": {`<li><a href="a">A page</a> First.</li>`, `<h2>Use</h2>`, `<a href="./" aria-current="page">Start</a>`},
		"a.html": {`<h1 id="a--page">A &amp; page`, `href="deep/b#two"`, `<code>ls <span class="comment"># files</span></code>`, ", code</p>",
			`<a class="before" rel="prev" href="./">`},
		"deep/b.html": {`<link rel="stylesheet" href="../docs.css">`, `<h2 id="two">`, `<svg role="img" aria-label="drawn" class="drawing" viewBox`,
			`<td></td>`, `<a href="../a">A page</a>`},
		"search.json": {`{"p":"deep/b","t":"B","h":"Two","a":"two","x":"home drawn a 1 2 --flag what it does"}`,
			`{"p":"deep/b","t":"B","h":"--flag","a":"two","x":"what it does"}`},
		"images/d.svg": {"<style>"},
	} {
		text, ok := site[name]
		if !ok {
			t.Errorf("there is no %s", name)
		}
		for _, part := range parts {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s has no %s:\n%s", name, part, text)
			}
		}
	}
	if strings.Contains(string(site["deep/b.html"]), "<style>") {
		t.Error("a drawing brings its own colours into a page")
	}
	if _, ok := site["images/unused.png"]; ok {
		t.Error("a picture that no page shows is on the site")
	}
}

func TestSiteRefuses(t *testing.T) {
	for what, c := range map[string]struct{ file, text, want string }{
		"HTML":                         {"docs/a.md", "# A\n\n<b>x</b>\n", "HTML"},
		"a block of HTML":              {"docs/a.md", "# A\n\n<div>\nx\n</div>\n", "HTML"},
		"an indented block":            {"docs/a.md", "# A\n\n    ls\n", "fenced"},
		"a block without language":     {"docs/a.md", "# A\n\n```\nls\n```\n", "language"},
		"a word that does not exist":   {"docs/a.md", "# A\n\n```sh later\nls\n```\n", `"later"`},
		"a word without its value":     {"docs/a.md", "# A\n\n```sh needs\nls\n```\n", `"needs"`},
		"a link to nothing":            {"docs/a.md", "# A\n\n[x](c.md)\n", "c.md leads nowhere"},
		"a link to no heading":         {"docs/a.md", "# A\n\n[x](deep/B.md#three)\n", "no heading"},
		"a page without heading":       {"docs/a.md", "text\n", "no heading"},
		"two headings of the first":    {"docs/a.md", "# A\n\n# B\n", "first level"},
		"a page outside of the menu":   {"docs/c.md", "# C\n", "docs/c.md is in the menu"},
		"a page in the menu twice":     {"docs/README.md", "# H\n\n## U\n\n- [A](a.md)\n- [B](deep/B.md)\n- [A](a.md)\n", "2 times"},
		"a menu that names what isn't": {"docs/README.md", "# H\n\n## U\n\n- [A](a.md)\n- [B](deep/B.md)\n- [C](../main.go)\n", "no page"},
	} {
		p := project()
		p[c.file] = &fstest.MapFile{Data: []byte(c.text)}
		if _, err := Site(p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", what, err, c.want)
		}
	}
}

func TestBlocks(t *testing.T) {
	blocks, err := Blocks([]byte("# T\n\n```sh background ready=\"up and running\"\nmake run\n```\n\n- item\n\n  ```text output\n  a\n    b\n  ```\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) != 2 {
		t.Fatalf("%d blocks", len(blocks))
	}
	run, out := blocks[0], blocks[1]
	if run.Language != "sh" || run.Line != 4 || run.Text != "make run\n" || !run.Has("background") || run.Value("ready") != "up and running" {
		t.Errorf("the first block is %+v", run)
	}
	if out.Language != "text" || !out.Has("output") || out.Text != "a\n  b\n" {
		t.Errorf("the second block is %+v", out)
	}
}
