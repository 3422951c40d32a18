package ship

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// messagesOf is what a file becomes that is read in portions of the given sizes, over and over; what is left at the end is flushed. It
// holds on its way that each message ends where the file says.
func messagesOf(t *testing.T, text []byte, portions []byte, l liner, j joiner) []string {
	t.Helper()
	var list []string
	take := func(body []byte, end int64) {
		list = append(list, string(body))
		if end < 0 || end > int64(len(text)) || !bytes.HasSuffix(bytes.TrimSuffix(text[:end], []byte("\n")), body) {
			t.Errorf("%q does not end at %d of %q", body, end, text)
		}
	}
	read, line := 0, int64(0)
	for turn := 0; read < len(text); turn++ {
		n := len(text)
		if len(portions) > 0 {
			n = 1 + int(portions[turn%len(portions)])
		}
		portion := bytes.Clone(text[read:min(len(text), read+n)])
		read += len(portion)
		l.split(portion, func(text []byte, size int) {
			line += int64(size)
			j.add(text, line, take)
		})
		clear(portion) // it is not to be used any more
	}
	if len(l.partial) > 0 {
		j.add(l.partial, int64(len(text)), take)
	}
	j.flush(take)
	return list
}

func TestJoining(t *testing.T) {
	trace := "12:00 one\n12:01 two\n  at a\n  at b\n\n12:02 three\n  at c\n"
	for _, c := range []struct {
		name, text       string
		start, continues string
		max              int
		want             []string
	}{
		{"lines", "a\n\nb\nc", "", "", 9, []string{"a", "", "b", "c"}},
		{"long lines", "abcdefg\nabc\nabcd\n", "", "", 3, []string{"abc", "def", "g", "abc", "abc", "d"}},
		{"begun by a pattern", trace, "^[0-9]", "", 99, []string{"12:00 one", "12:01 two\n  at a\n  at b\n", "12:02 three\n  at c"}},
		{"continued by a pattern", trace, "", "^( |$)", 99, []string{"12:00 one", "12:01 two\n  at a\n  at b\n", "12:02 three\n  at c"}},
		{"a beginning that does not match", "x\ny\n1\nz\n", "^1", "", 99, []string{"x\ny", "1\nz"}},
		{"more than a message may have", "1\naa\naa\naa\n2\n", "^[0-9]", "", 6, []string{"1\naa", "aa\naa", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := joiner{max: c.max}
			if c.start != "" {
				j.start = regexp.MustCompile(c.start)
			}
			if c.continues != "" {
				j.continues = regexp.MustCompile(c.continues)
			}
			for _, portions := range [][]byte{nil, {0}, {2, 0, 6}} {
				if got := messagesOf(t, []byte(c.text), portions, liner{max: c.max}, j); !slices.Equal(got, c.want) {
					t.Errorf("in portions of %v: %q, wanted %q", portions, got, c.want)
				}
				j.pending = nil
			}
		})
	}
}

// FuzzJoin holds that, whatever portions a file comes in, no byte of it is missing from its messages or in them twice.
func FuzzJoin(f *testing.F) {
	f.Add([]byte("one\ntwo\n  at a\n  at b\nlast"), []byte{0, 3, 9}, uint8(20), true)
	f.Add([]byte("\n\n\n"), []byte{}, uint8(1), false)
	f.Add([]byte("longer than a message may be\n"), []byte{1}, uint8(4), true)
	f.Fuzz(func(t *testing.T, text, portions []byte, most uint8, join bool) {
		j := joiner{max: max(1, int(most))}
		if join {
			j.continues = regexp.MustCompile(`^[ \t]`)
		}
		got := messagesOf(t, text, portions, liner{max: j.max}, j)
		for _, message := range got {
			if len(message) > j.max {
				t.Errorf("%q is longer than %d", message, j.max)
			}
		}
		bare := func(s string) string { return strings.ReplaceAll(s, "\n", "") }
		if bare(strings.Join(got, "")) != bare(string(text)) {
			t.Errorf("%q became %q", text, got)
		}
		if !join && most > 0 && strings.Count(string(text), "\n") > len(got) {
			t.Errorf("%q became %d messages", text, len(got))
		}
	})
}

func TestState(t *testing.T) {
	good := `{"version":1,"seen":5,"files":[{"path":"/a","device":1,"inode":2,"offset":3,"print_length":4,"print":"` + strings.Repeat("0", 32) + `"}]}`
	s, err := parseState([]byte(good))
	if err != nil || len(s.Files) != 1 || s.Files[0].Offset != 3 || s.Seen != 5 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "{", good + good, strings.Replace(good, `"version":1`, `"version":2`, 1), strings.Replace(good, ":3", ":-3", 1),
		strings.Replace(good, `"seen"`, `"sin"`, 1), strings.Replace(good, ":4", ":4000", 1), strings.Replace(good, `"/a"`, `""`, 1)} {
		if _, err := parseState([]byte(bad)); err == nil {
			t.Errorf("%s is a state", bad)
		}
	}
}

// FuzzState holds that what is taken for a state makes sense.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"seen":5,"files":[{"path":"/a","device":1,"inode":2,"offset":3,"print_length":4,"print":"00000000000000000000000000000000"}]}`))
	f.Add([]byte(`{"version":1,"seen":5,"files":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseState(text)
		if err != nil {
			return
		}
		for _, p := range s.Files {
			if p.Path == "" || p.Offset < 0 || p.PrintLength < 0 || p.PrintLength > printSize {
				t.Errorf("%q has %+v", text, p)
			}
		}
	})
}
