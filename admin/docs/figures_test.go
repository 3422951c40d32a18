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
)

// TestReadmeSaysWhatWasMeasured holds what README.md says of nsqd's costs to the table of docs/BENCHMARKS.md: the range, and every scenario in
// which brokerd is not cheaper, or slower, by its name.
func TestReadmeSaysWhatWasMeasured(t *testing.T) {
	figures, err := os.ReadFile(filepath.Join(root, "docs/BENCHMARKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "\n## What it costs\n")
	said, _, _ := strings.Cut(rest, "\n## ")
	_, rest, _ = strings.Cut(string(figures), "\n### Speed\n")
	table, _, _ := strings.Cut(rest, "\n### ")

	row := regexp.MustCompile("(?m)^\\| `([^`]+)`.*$")
	ratio := regexp.MustCompile(`\| ([0-9.]+)x `)
	var worse []string
	least, most := 100.0, 0.0
	rows := row.FindAllStringSubmatch(table, -1)
	if len(rows) < 10 {
		t.Fatalf("the table of speed has %d rows", len(rows))
	}
	for _, m := range rows {
		ratios := ratio.FindAllStringSubmatch(m[0], -1)
		if len(ratios) < 2 {
			continue // measured without nsqd
		}
		speed, cpu := number(t, ratios[0][1]), number(t, ratios[1][1])
		if cpu >= 1 || speed < 1 {
			if !slices.Contains(worse, m[1]) {
				worse = append(worse, m[1])
			}
			continue
		}
		least, most = min(least, cpu), max(most, cpu)
	}
	if want := fmt.Sprintf("%.2f to %.2f times", least, most); !strings.Contains(strings.Join(strings.Fields(said), " "), want) {
		t.Errorf("README.md does not say %q, which the table does", want)
	}
	for _, scenario := range worse {
		if !strings.Contains(said, "`"+scenario+"`") {
			t.Errorf("README.md does not name %s among the exceptions", scenario)
		}
	}
	for _, m := range regexp.MustCompile("\\(`([a-z0-9A-Z-]+)`").FindAllStringSubmatch(said, -1) {
		if !slices.Contains(worse, m[1]) {
			t.Errorf("README.md names %s among the exceptions, and it is none any more", m[1])
		}
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
