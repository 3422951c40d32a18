package httpapi

import (
	"bytes"
	"errors"
	"math"
	"net"
	"strconv"
	"strings"
)

// Strict returns a listener whose HTTP/1 connections end with 400 at a request that has both Content-Length and Transfer-Encoding.
// net/http takes the latter and drops the former before anybody sees it; a proxy in front that does it the other way round would take the
// rest of one request for another. Over TLS, which hides requests from here, Router closes the connection behind every request in chunks.
func Strict(l net.Listener) net.Listener { return strictListener{l} }

type strictListener struct{ net.Listener }

func (l strictListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &strictConn{Conn: conn}, nil
}

// errLength ends the reading of a connection. net/http answers 400 to any error that is none of the network's.
var errLength = errors.New("a request with both Content-Length and Transfer-Encoding, with a length that programs read in different ways, or with a chunk without its size")

// strictConn follows the requests on a connection as they are read.
type strictConn struct {
	net.Conn
	scan scan
	err  error
}

func (c *strictConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	good, ok := c.scan.feed(p[:n])
	if !ok {
		c.err = errLength
		if good > 0 {
			return good, nil // net/http answers nothing to an error where it waits for a request
		}
		return 0, c.err
	}
	return n, err
}

// part is where in a request the next byte belongs.
type part int

const (
	inHead    part = iota
	inBody         // of a known length, or the data of a chunk with its line end
	inSize         // the line before a chunk
	inTrailer      // behind the last chunk
)

// maxScanned is how much of a line is looked at, in bytes: a length that is written longer is refused.
const maxScanned = 256

// scan follows requests of HTTP/1 by their lengths, as net/http does.
type scan struct {
	at      part
	line    []byte // what has come of a line, cut to maxScanned
	begun   bool   // the request line is behind
	length  int64  // from Content-Length; -1 for none
	chunked bool
	left    int64 // bytes of inBody
}

// feed takes the next bytes, and reports false at the end of a head with two lengths, or once the chunks make no sense. good is how many
// bytes came before the line that is to blame.
func (s *scan) feed(all []byte) (good int, ok bool) {
	for b := all; len(b) > 0; {
		switch s.at {
		case inBody:
			n := min(s.left, int64(len(b)))
			s.left -= n
			b = b[n:]
			if s.left == 0 {
				s.at = inHead
				if s.chunked {
					s.at = inSize
				}
			}
		default:
			end := bytes.IndexByte(b, '\n')
			if end < 0 {
				s.keep(b)
				return len(all), true
			}
			s.keep(b[:end])
			ok := s.take(bytes.TrimSuffix(s.line, []byte("\r")))
			s.line = s.line[:0]
			if !ok {
				return len(all) - len(b), false
			}
			b = b[end+1:]
		}
	}
	return len(all), true
}

func (s *scan) keep(b []byte) { s.line = append(s.line, b[:min(len(b), maxScanned-len(s.line))]...) }

// take takes a whole line, without its end.
func (s *scan) take(line []byte) bool {
	switch s.at {
	case inSize:
		text, _, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseUint(strings.TrimRight(text, " \t"), 16, 63)
		switch {
		case err != nil || n > math.MaxInt64-2:
			return false
		case n == 0:
			s.at = inTrailer
		default:
			s.at, s.left = inBody, int64(n)+2
		}
	case inTrailer:
		if len(line) == 0 {
			s.next()
		}
	case inHead:
		return s.head(line)
	}
	return true
}

func (s *scan) next() { s.at, s.begun, s.length, s.chunked = inHead, false, -1, false }

// head takes a line of a head.
func (s *scan) head(line []byte) bool {
	switch {
	case !s.begun && len(line) == 0: // net/http passes over it, or refuses it
		return true
	case !s.begun:
		s.next()
		s.begun = true
		return true
	case len(line) > 0:
		return s.field(line)
	case s.chunked && s.length >= 0:
		return false
	case s.chunked:
		s.at = inSize
	case s.length > 0:
		s.at, s.left, s.begun = inBody, s.length, false
	default:
		s.next()
	}
	return true
}

// field notes a length, and reports false for one that net/http refuses, or may read otherwise: in lines that are longer than is looked at, or
// that goes on in the next line, as one that begins with a space does.
func (s *scan) field(line []byte) bool {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		s.chunked = true
	case bytes.EqualFold(name, []byte("Content-Length")):
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 63)
		if err != nil || len(line) >= maxScanned-1 {
			return false
		}
		s.length = int64(n)
	}
	return true
}
