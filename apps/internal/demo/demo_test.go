package demo

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestMain lets the test's binary be the doomed consumer, as the demo's own is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == doomedCommand {
		fmt.Fprintln(os.Stderr, runDoomed(os.Args[2:]))
		os.Exit(1)
	}
	patience, startWithin, stopWithin = cmdtest.Patience, cmdtest.Patience, cmdtest.Patience
	cmdtest.Main(m, "cmd/brokerd")
}

// tree writes files into a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestWholeDemo(t *testing.T) {
	binary := cmdtest.Find(t, "brokerd")
	files := make(map[string]string)
	for i := range 20 {
		files[fmt.Sprintf("folder%d/file%d", i%3, i)] = strings.Repeat("the same line\n", 1000)
	}
	s := settings{binary: binary, source: tree(t, files), producers: 4, consumers: 3, maxInFlight: 100}
	var out strings.Builder
	if err := run(t.Context(), s, &out, nil); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"20,000 lines in 20 files", "archive      20,000", "index      20,000", "late     from the beginning         20,000           20,000", "later   from "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	}
	t.Log(out.String())
}

func TestLinesOfFiles(t *testing.T) {
	src, err := survey(tree(t, map[string]string{"b/windows": "one\r\ntwo\r\n", "a": "\nlast", "empty": "", "binary": "\x00\xff\n:\n"}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range src.files {
		if err := src.eachLine(name, func(m []byte) error { got = append(got, string(m)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"a:1:", "a:2:last", "b/windows:1:one\r", "b/windows:2:two\r", "binary:1:\x00\xff", "binary:2::"}
	if !slices.Equal(got, want) || src.lines != len(want) {
		t.Errorf("%q, counted %d", got, src.lines)
	}
	if _, err := survey(t.TempDir()); err == nil {
		t.Error("a folder without lines is fine")
	}
}

// TestVerdict holds that every way to get it wrong is seen.
func TestVerdict(t *testing.T) {
	one, two, three := digestOf([]byte("one")), digestOf([]byte("two")), digestOf([]byte("three"))
	for _, c := range []struct {
		name   string
		finish func(*tally)
		want   string // in the error; empty means that all is well
	}{
		{"another order, one twice under its id", func(t *tally) { t.finish(7, two, 1); t.finish(9, one, 1); t.finish(7, two, 1) }, ""},
		{"one lost", func(t *tally) { t.finish(9, one, 1) }, "other lines than were published: 1, not 2"},
		{"one twice under two ids", func(t *tally) { t.finish(1, one, 1); t.finish(2, one, 1); t.finish(3, two, 1) }, "3, not 2"},
		{"one in another's place", func(t *tally) { t.finish(1, one, 1); t.finish(2, one, 1) }, "other lines"},
		{"one changed", func(t *tally) { t.finish(1, one, 1); t.finish(2, three, 1) }, "other lines"},
		{"one changed on its second way", func(t *tally) { t.finish(1, one, 1); t.finish(2, two, 1); t.finish(2, three, 1) }, "different bodies"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := new(published)
			for _, d := range []digest{one, two} {
				p.acknowledged(multiset{1, d})
			}
			team := &crew{channel: "archive", tally: newTally(2)}
			c.finish(team.tally)
			r := &report{source: source{lines: 2}, published: p, crews: []*crew{team}, broker: httpapi.Topic{MessageCount: 2}}
			r.write(io.Discard)
			err := r.verdict()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, wanted %q", err, c.want)
			}
			if !isClosed(team.tally.halfSeen) {
				t.Error("half of the messages were not noticed")
			}
		})
	}
}
