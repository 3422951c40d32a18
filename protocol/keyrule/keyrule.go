package keyrule

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Rule takes a key out of a message's body. nil takes none: the key is what the publish says.
type Rule struct {
	from, to int    // bytes; to is 0 where another rule holds
	until    []byte // text before this
	member   string // of a JSON object
	whole    bool
}

// mostScanned is how many bytes of a body a rule looks at, but for body.
const mostScanned = 64 << 10

// Allowed says what a rule can be.
const Allowed = "must be word, bytes:FROM-TO, until:C, json:NAME or body, as bytes:0-16 (16 bytes from the first on), until:| or json:order_id"

// ErrRule is a text that is no rule.
var ErrRule = errors.New(Allowed)

// Parse reads word, bytes:FROM-TO, until:C, json:NAME or body. word is no rule: nil. It fails with ErrRule.
func Parse(text string) (*Rule, error) {
	way, rest, arg := strings.Cut(text, ":")
	switch {
	case text == "word":
		return nil, nil
	case text == "body":
		return &Rule{whole: true}, nil
	case way == "bytes" && arg:
		from, to, ok := strings.Cut(rest, "-")
		first, err := strconv.ParseUint(from, 10, 31)
		end, wrong := strconv.ParseUint(to, 10, 31)
		if ok && err == nil && wrong == nil && first < end && end <= mostScanned {
			return &Rule{from: int(first), to: int(end)}, nil
		}
	case way == "until" && utf8.RuneCountInString(rest) == 1 && utf8.ValidString(rest):
		return &Rule{until: []byte(rest)}, nil
	case way == "json" && rest != "" && len(rest) <= 256 && utf8.ValidString(rest):
		return &Rule{member: rest}, nil
	}
	return nil, ErrRule
}

// Key returns the key of a body, a view of it or new; nil when it has none.
func (r *Rule) Key(body []byte) []byte {
	switch {
	case r == nil:
		return nil
	case r.whole:
		return body
	case r.to > 0:
		if len(body) < r.to {
			return nil
		}
		return body[r.from:r.to]
	}
	head := body[:min(len(body), mostScanned)]
	if r.until != nil {
		before, _, ok := bytes.Cut(head, r.until)
		if !ok {
			return nil
		}
		return before
	}
	s := scanner{rest: head}
	return s.member(r.member)
}

// scanner looks for one member of a JSON object. It stops at what is no JSON.
type scanner struct{ rest []byte }

// member returns the first member of that name at the top level: what a text says, or a number as it is written; nil when it is neither, or
// there is none.
func (s *scanner) member(name string) []byte {
	if !s.token('{') {
		return nil
	}
	for {
		key, ok := s.text()
		if !ok || !s.token(':') {
			return nil
		}
		if string(unquote(key)) == name {
			return s.scalar()
		}
		if !s.skip() || !s.token(',') {
			return nil
		}
	}
}

// scalar returns a text or a number.
func (s *scanner) scalar() []byte {
	s.space()
	if len(s.rest) > 0 && s.rest[0] == '"' {
		text, ok := s.text()
		if !ok {
			return nil
		}
		return unquote(text)
	}
	n := s.word()
	if len(n) == 0 || len(n) == len(s.rest) || n[0] != '-' && (n[0] < '0' || n[0] > '9') || !json.Valid(n) {
		return nil
	}
	return n
}

func (s *scanner) space() {
	i := 0
	for i < len(s.rest) && (s.rest[i] == ' ' || s.rest[i] == '\t' || s.rest[i] == '\n' || s.rest[i] == '\r') {
		i++
	}
	s.rest = s.rest[i:]
}

// token passes one character, and reports whether it was there.
func (s *scanner) token(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// text passes a text and returns it with its quotes.
func (s *scanner) text() ([]byte, bool) {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '"':
			text := s.rest[:i+1]
			s.rest = s.rest[i+1:]
			return text, true
		}
	}
	return nil, false
}

// unquote returns what a text with quotes says, nil when it is no text.
func unquote(quoted []byte) []byte {
	plain := quoted[1 : len(quoted)-1]
	for _, c := range plain {
		if c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			var text string
			if json.Unmarshal(quoted, &text) != nil {
				return nil
			}
			return []byte(text)
		}
	}
	return plain
}

// word returns what stands there up to the end of a value: a number, true, false or null.
func (s *scanner) word() []byte {
	for i, c := range s.rest {
		switch c {
		case ' ', '\t', '\n', '\r', ',', '}', ']', ':', '"', '{', '[':
			return s.rest[:i]
		}
	}
	return s.rest
}

// skip passes a value, of whose inside it looks at texts and brackets only.
func (s *scanner) skip() bool {
	depth := 0
	for {
		s.space()
		if len(s.rest) == 0 {
			return false
		}
		switch c := s.rest[0]; c {
		case '"':
			if _, ok := s.text(); !ok {
				return false
			}
		case '{', '[':
			depth++
			s.rest = s.rest[1:]
		case '}', ']':
			if depth--; depth < 0 {
				return false
			}
			s.rest = s.rest[1:]
		case ',', ':':
			if depth == 0 {
				return false
			}
			s.rest = s.rest[1:]
		default:
			s.rest = s.rest[len(s.word()):]
		}
		if depth == 0 {
			return true
		}
	}
}
