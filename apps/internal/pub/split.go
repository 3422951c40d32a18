package pub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// How much is read at once, and how long a piece may be, in bytes.
const (
	readSize = 256 << 10
	maxPiece = 512 << 20
)

var errTooLong = fmt.Errorf("there is no delimiter within %d MiB", maxPiece>>20)

// chunk is pieces of the input, with the memory that they lie in.
type chunk struct {
	buffer []byte
	pieces [][]byte // none is empty
}

// splitter cuts an input into pieces.
type splitter struct {
	input     io.Reader
	delimiter []byte
	rest      []byte // of a piece whose end has not been read
	ended     error  // of the input
}

// next fills c with at least one piece, or returns why there are none: io.EOF when there is no more input. The pieces are good until c
// is filled again.
func (s *splitter) next(c *chunk) error {
	c.pieces = c.pieces[:0]
	c.buffer = append(c.buffer[:0], s.rest...)
	s.rest = s.rest[:0]
	searched := 0 // that far there is no delimiter
	for len(c.pieces) == 0 {
		if s.ended != nil {
			return s.ended
		}
		s.read(c)
		from := 0
		for {
			at := bytes.Index(c.buffer[searched:], s.delimiter)
			if at < 0 {
				break
			}
			c.add(c.buffer[from : searched+at])
			from = searched + at + len(s.delimiter)
			searched = from
		}
		if errors.Is(s.ended, io.EOF) {
			c.add(c.buffer[from:])
			continue
		}
		if len(c.pieces) > 0 {
			s.rest = append(s.rest, c.buffer[from:]...)
			return nil
		}
		if from > 0 { // there were empty pieces only
			c.buffer = c.buffer[:copy(c.buffer, c.buffer[from:])]
		}
		searched = max(0, len(c.buffer)-len(s.delimiter)+1)
	}
	return nil
}

// add takes a piece, if there is anything in it.
func (c *chunk) add(piece []byte) {
	if len(piece) > 0 {
		c.pieces = append(c.pieces, piece)
	}
}

// read reads what is there, at least something or the end.
func (s *splitter) read(c *chunk) {
	if len(c.buffer) > maxPiece {
		s.ended = errTooLong
		return
	}
	if cap(c.buffer)-len(c.buffer) < readSize/2 {
		grown := make([]byte, len(c.buffer), 2*len(c.buffer)+readSize)
		copy(grown, c.buffer)
		c.buffer = grown
	}
	n, err := s.input.Read(c.buffer[len(c.buffer):cap(c.buffer)])
	c.buffer = c.buffer[:len(c.buffer)+n]
	s.ended = err
	if err != nil && !errors.Is(err, io.EOF) {
		s.ended = fmt.Errorf("reading the input: %w", err)
	}
}

// parseDelimiter turns the flag into bytes: Go's escapes stand for what cannot be typed.
func parseDelimiter(text string) ([]byte, error) {
	if !strings.Contains(text, `\`) {
		return []byte(text), nil
	}
	if text == `\0` {
		return []byte{0}, nil
	}
	plain, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		return nil, fmt.Errorf(`%q has an escape that is not known; \n, \t, \0 and \x1e are: a backslash is \\`, text)
	}
	return []byte(plain), nil
}
