package pub

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// trickle returns its text in portions of so many bytes, over and over.
type trickle struct {
	text     []byte
	portions []byte
	turn     int
}

func (r *trickle) Read(p []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if len(r.portions) > 0 {
		n = min(n, 1+int(r.portions[r.turn%len(r.portions)]))
		r.turn++
	}
	n = copy(p[:n], r.text)
	r.text = r.text[n:]
	return n, nil
}

// pieces returns all that a splitter finds.
func pieces(input io.Reader, delimiter string) (list []string, err error) {
	s, c := &splitter{input: input, delimiter: []byte(delimiter)}, new(chunk)
	for {
		if err := s.next(c); err != nil {
			return list, err
		}
		if len(c.pieces) == 0 {
			return list, errors.New("a chunk without a piece")
		}
		for _, piece := range c.pieces {
			list = append(list, string(piece))
		}
	}
}

// wanted is the same by the simplest means.
func wanted(text, delimiter string) (list []string) {
	for _, piece := range strings.Split(text, delimiter) {
		if piece != "" {
			list = append(list, piece)
		}
	}
	return list
}

func TestPiecesOfAnInput(t *testing.T) {
	long := strings.Repeat("x", 3*readSize)
	for _, text := range []string{"", "\n", "\n\n\n", "abc", "abc\n", "a\n\nb", "\na\nb\n\n", long, long + "\n" + long + "\n", strings.Repeat("\n", readSize) + "z"} {
		got, err := pieces(strings.NewReader(text), "\n")
		if !errors.Is(err, io.EOF) || !slices.Equal(got, wanted(text, "\n")) {
			t.Errorf("%.20q...: %d pieces, %v", text, len(got), err)
		}
	}
	broken := errors.New("broken")
	got, err := pieces(io.MultiReader(strings.NewReader("a\nb\nc"), iotest.ErrReader(broken)), "\n")
	if !errors.Is(err, broken) || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("of an input that breaks: %q, %v", got, err)
	}
}

func TestDelimiters(t *testing.T) {
	for text, want := range map[string]string{"\n": "\n", `\n`: "\n", `\0`: "\x00", `\x1e`: "\x1e", ",": ",", `","`: `","`, `"\t"`: "\"\t\"", `\\`: `\`, "\x00": "\x00"} {
		if got, err := parseDelimiter(text); err != nil || string(got) != want {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	if _, err := parseDelimiter(`\q`); err == nil {
		t.Error("an unknown escape is fine")
	}
}

// FuzzSplit holds that whatever portions an input comes in, the pieces are those of the whole.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("a\n\nb\nlast"), []byte("\n"), []byte{0, 1, 5})
	f.Add([]byte("a--b---c-"), []byte("--"), []byte{0})
	f.Add([]byte(""), []byte(","), []byte{})
	f.Fuzz(func(t *testing.T, text, delimiter, portions []byte) {
		if len(delimiter) == 0 {
			return
		}
		got, err := pieces(&trickle{text: bytes.Clone(text), portions: portions}, string(delimiter))
		if !errors.Is(err, io.EOF) || !slices.Equal(got, wanted(string(text), string(delimiter))) {
			t.Errorf("%q at %q: %q, %v", text, delimiter, got, err)
		}
	})
}
