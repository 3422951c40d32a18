package docs

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"brokerd/admin/docs/build"
	"brokerd/admin/ui"
)

// root is the project's folder.
const root = "../.."

func TestTheSiteIsWhatTheFilesSay(t *testing.T) {
	want, err := build.Site(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE_DOCS") != "" { // make docs
		write(t, want)
		return
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join("site", name))
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("site/%s is stale: run make docs", name)
		}
	}
	for _, name := range filesIn(t, os.DirFS("site")) {
		if _, ok := want[name]; !ok {
			t.Errorf("site/%s is made of nothing any more: run make docs", name)
		}
	}
}

// write makes site/ what it should be. There is always a file in it, or this package would not build.
func write(t *testing.T, site map[string][]byte) {
	t.Helper()
	for name, text := range site {
		to := filepath.Join("site", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range filesIn(t, os.DirFS("site")) {
		if _, ok := site[name]; !ok {
			if err := os.Remove(filepath.Join("site", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func filesIn(t *testing.T, folder fs.FS) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestLinksOfTheProjectsTextsLeadSomewhere looks at what is not on the site: those of docs/ are looked at when it is made.
func TestLinksOfTheProjectsTextsLeadSomewhere(t *testing.T) {
	texts, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil || len(texts) < 2 {
		t.Fatalf("%d texts in the project's folder, %v", len(texts), err)
	}
	for i := range texts {
		texts[i] = filepath.Base(texts[i])
	}
	for _, err := range build.CheckLinks(os.DirFS(root), append(texts, "changes/README.md")) {
		t.Error(err)
	}
}

// TestPagesLoadNothingFromElsewhere and run no script of their own: a Content-Security-Policy of default-src 'self' holds.
func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	loads := regexp.MustCompile(`(?i)<(?:script|img|link|iframe|source|use)[^>]*(?:src|href)="(?:[a-z]+:)?//`)
	inline := regexp.MustCompile(`(?i)<style|\sstyle="|\son[a-z]+="|<script[^>]*>[^<]|javascript:`)
	for _, name := range filesIn(t, files) {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, ".html") {
			continue
		}
		if found := loads.Find(text); found != nil {
			t.Errorf("%s loads from elsewhere: %s", name, found)
		}
		if found := inline.Find(text); found != nil {
			t.Errorf("%s has %q inline", name, found)
		}
	}
}

// TestAllTogetherIsSmall: what every admind carries.
func TestAllTogetherIsSmall(t *testing.T) {
	total := 0
	for _, name := range filesIn(t, files) {
		text, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		total += len(text)
	}
	t.Logf("the documentation: %d bytes", total)
	if most := 4 << 20; total > most {
		t.Errorf("the documentation has %d bytes, more than %d", total, most)
	}
}

func TestColoursComeFromAdmindsStyleSheet(t *testing.T) {
	base, err := fs.ReadFile(ui.Files(), "css/base.css")
	if err != nil {
		t.Fatal(err)
	}
	own, err := files.ReadFile("static/docs.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`var\((--[a-z-]+)\)`).FindAllStringSubmatch(string(own), -1) {
		if !strings.Contains(string(base), m[1]+":") {
			t.Errorf("docs.css uses %s, which base.css does not have", m[1])
		}
	}
	if found := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|rgb`).Find(own); found != nil {
		t.Errorf("docs.css has a colour of its own, %s", found)
	}
}

// TestEachDrawingsPartsHaveColours: a page gives a drawing its colours by these classes.
func TestEachDrawingsPartsHaveColours(t *testing.T) {
	drawings, err := filepath.Glob(filepath.Join(root, "docs/images/*.svg"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := files.ReadFile("static/docs.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, drawing := range drawings {
		text, err := os.ReadFile(drawing)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`class="([a-z ]+)"`).FindAllStringSubmatch(string(text), -1) {
			for class := range strings.FieldsSeq(m[1]) {
				if !strings.Contains(string(own), ".drawing ."+class+" ") {
					t.Errorf("%s: docs.css has no .drawing .%s", drawing, class)
				}
			}
		}
	}
}

func TestServe(t *testing.T) {
	for _, c := range []struct {
		path, kind, part string
		code             int
	}{
		{"/", "text/html; charset=utf-8", "<h1", 200},
		{"/guarantees", "text/html; charset=utf-8", "What is promised", 200},
		{"/guarantees.html", "text/html; charset=utf-8", "What is promised", 200},
		{"/docs.css", "text/css; charset=utf-8", ".menu", 200},
		{"/docs.js", "text/javascript; charset=utf-8", "import", 200},
		{"/search.json", "application/json", `"p":`, 200},
		{"/nosuch", "text/plain; charset=utf-8", "no such page", 404},
		{"/../docs.go", "text/plain; charset=utf-8", "no such page", 404},
		{"/site/index.html", "text/plain; charset=utf-8", "no such page", 404},
	} {
		w := httptest.NewRecorder()
		Serve(w, httptest.NewRequest(http.MethodGet, "http://a/docs"+c.path, nil), c.path)
		kind := w.Header().Get("Content-Type")
		if w.Code != c.code || kind != c.kind || !strings.Contains(w.Body.String(), c.part) {
			t.Errorf("%s: %d %s, want %d %s with %q", c.path, w.Code, kind, c.code, c.kind, c.part)
		}
	}
	first := httptest.NewRecorder()
	Serve(first, httptest.NewRequest(http.MethodGet, "http://a/docs/", nil), "/")
	again := httptest.NewRequest(http.MethodGet, "http://a/docs/", nil)
	again.Header.Set("If-None-Match", first.Header().Get("ETag"))
	w := httptest.NewRecorder()
	if Serve(w, again, "/"); w.Code != http.StatusNotModified {
		t.Errorf("the same page again: %d, not 304", w.Code)
	}
}
