package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	defaultRow  = regexp.MustCompile("(?m)^\\| `((?:--)?[a-z0-9_-]+)` \\| `\"?([^`\"]*)\"?` \\|")
	defaultHelp = regexp.MustCompile(`(?m)^  (--[a-z0-9-]+)=.*(?:\n {10,}.*)*?\(default\s+([^)]*)\)`)
	defaultSaid = regexp.MustCompile("`((?:--)?[a-z0-9_-]+)`(?: \\(|, )([0-9][0-9,.]* ?(?:ms|s|min|h|KiB|MiB|GiB)?)(\\)| by default)")
	wordDefault = regexp.MustCompile("`([a-z0-9-]+)`(?: \\((?:the )?default\\)|, the default)")
)

// TestDefaultsInTheTextsAreTheCodes: where a text says what is so by default, it is what a reference says, each of which is made of the code.
func TestDefaultsInTheTextsAreTheCodes(t *testing.T) {
	defaults, words := map[string][]string{}, map[string]bool{}
	references, err := filepath.Glob(filepath.Join(root, "docs/reference/*.md"))
	if err != nil || len(references) < 5 {
		t.Fatalf("%q %v", references, err)
	}
	for _, path := range references {
		page := text(t, path)
		for _, m := range slices.Concat(defaultRow.FindAllStringSubmatch(page, -1), defaultHelp.FindAllStringSubmatch(page, -1)) {
			defaults[m[1]] = append(defaults[m[1]], m[2])
			words[m[2]] = true
		}
	}
	var pages []string
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/clients/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	looked := 0
	for _, path := range pages {
		page := text(t, path)
		for _, m := range defaultSaid.FindAllStringSubmatch(page, -1) {
			codes, known := defaults[m[1]]
			if !known {
				continue // of a client's library, say
			}
			looked++
			if !slices.ContainsFunc(codes, func(code string) bool { return plain(code) == plain(m[2]) }) {
				t.Errorf("%s says %s, and the default of %s is %s", filepath.Base(path), m[0], m[1], codes)
			}
		}
		for _, m := range wordDefault.FindAllStringSubmatch(page, -1) {
			looked++
			if !words[m[1]] {
				t.Errorf("%s says %s, and nothing has that default", filepath.Base(path), m[0])
			}
		}
	}
	if looked < 8 {
		t.Errorf("only %d defaults were found in the texts", looked)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// plain is a value as a text or a reference has it, in one form: 60 s is 1m0s, 1,000,000 is 1000000, 256 MiB is 268435456.
func plain(said string) string {
	number, unit, _ := strings.Cut(strings.ReplaceAll(said, ",", ""), " ")
	if d, err := time.ParseDuration(number + strings.TrimSuffix(unit, "in")); err == nil && d > 0 {
		return d.String()
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return said
	}
	return fmt.Sprint(n << map[string]int{"KiB": 10, "MiB": 20, "GiB": 30}[unit])
}
