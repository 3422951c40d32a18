package ui

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// most is what all assets together may weigh before compression.
const most = 300_000

func TestAssetsAreSmall(t *testing.T) {
	total := 0
	for name, text := range files(t) {
		total += len(text)
		if own := !strings.HasPrefix(name, "vendor/"); own && strings.Count(text, "\n") > 500 {
			t.Errorf("%s has more than 500 lines", name)
		}
	}
	t.Logf("all assets: %d bytes", total)
	if total > most {
		t.Errorf("all assets have %d bytes, more than %d", total, most)
	}
}

func TestVendoredFilesAreWhatTheirListSays(t *testing.T) {
	all := files(t)
	row := regexp.MustCompile(`(?m)^\| (\S+) \| .* \| .*?(\S+\.LICENSE\.txt).* \| ([0-9a-f]{64}) \|$`)
	listed := make(map[string]bool)
	for _, m := range row.FindAllStringSubmatch(all["vendor/README.md"], -1) {
		name, license, want := "vendor/"+m[1], "vendor/"+m[2], m[3]
		listed[name] = true
		if got := fmt.Sprintf("%x", sha256.Sum256([]byte(all[name]))); got != want {
			t.Errorf("%s has checksum %s, vendor/README.md says %s", name, got, want)
		}
		if all[license] == "" {
			t.Errorf("%s, the licence of %s, is not there", license, name)
		}
	}
	for name := range all {
		code := strings.HasSuffix(name, ".js") || strings.HasSuffix(name, ".css")
		if strings.HasPrefix(name, "vendor/") && code && !listed[name] {
			t.Errorf("%s is not in vendor/README.md", name)
		}
	}
}

func TestNothingIsInlineAndNothingComesFromElsewhere(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<style|\sstyle="|\son[a-z]+="|<script(?:\s+type="(?:module|text/javascript)")?\s*>`)
	elsewhere := regexp.MustCompile(`(?:src|href)=["']https?:|import[^\n]*["']https?:|url\(["']?https?:|\beval\(|new Function`)
	for name, text := range files(t) {
		if strings.HasPrefix(name, "vendor/") {
			continue
		}
		if name == "index.html" {
			if found := inline.FindString(text); found != "" {
				t.Errorf("%s has %q, which the Content-Security-Policy forbids", name, found)
			}
		}
		if found := elsewhere.FindString(text); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
}

func TestModulesImportWhatIsThere(t *testing.T) {
	all := files(t)
	from := regexp.MustCompile(`from "(\.[^"]+)"`)
	rank := map[string]int{"vendor": 0, "lib": 1, "parts": 2, "pages": 3, "js": 4}
	for name, text := range all {
		if !strings.HasPrefix(name, "js/") {
			continue
		}
		for _, m := range from.FindAllStringSubmatch(text, -1) {
			to := path.Join(path.Dir(name), m[1])
			if _, ok := all[to]; !ok {
				t.Errorf("%s imports %s, which is not there", name, to)
			}
			if rank[path.Base(path.Dir(to))] > rank[path.Base(path.Dir(name))] {
				t.Errorf("%s imports %s, which stands above it", name, to)
			}
		}
	}
	for _, m := range regexp.MustCompile(`"\{\{assets\}\}/([^"]+)"`).FindAllStringSubmatch(all["index.html"], -1) {
		if _, ok := all[m[1]]; !ok {
			t.Errorf("index.html names %s, which is not there", m[1])
		}
	}
}

// TestOverviewsModulesAreAskedForAtOnce: a module that index.html does not name is only asked for once one that imports it is there.
func TestOverviewsModulesAreAskedForAtOnce(t *testing.T) {
	all := files(t)
	from := regexp.MustCompile(`from "(\.[^"]+)"`)
	needed := []string{"js/main.js", "js/pages/overview.js"}
	for i := 0; i < len(needed); i++ {
		name := needed[i]
		if !strings.Contains(all["index.html"], `"{{assets}}/`+name+`"`) {
			t.Errorf("index.html does not preload %s", name)
		}
		if strings.HasPrefix(name, "vendor/") {
			continue
		}
		for _, m := range from.FindAllStringSubmatch(all[name], -1) {
			if to := path.Join(path.Dir(name), m[1]); !slices.Contains(needed, to) {
				needed = append(needed, to)
			}
		}
	}
}

// files returns every asset by its path.
func files(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := fs.WalkDir(Files(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(Files(), name)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
