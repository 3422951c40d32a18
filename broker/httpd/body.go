package httpd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"brokerd/broker/topic"
)

// maxKept is the memory in bytes that a scratch keeps of a body for the next request.
const maxKept = 64 << 10

// scratch is the memory of one publish; it is reused.
type scratch struct {
	body  bytes.Buffer
	lines *bufio.Reader
	long  []byte // a line longer than the reader's buffer
	batch topic.Batch
}

func newScratch() *scratch { return &scratch{lines: bufio.NewReaderSize(nil, 16<<10)} }

// reset empties s and gives back what a large body needed.
func (s *scratch) reset() {
	s.lines.Reset(nil)
	s.batch.Reset()
	s.body.Reset()
	if s.body.Cap() > maxKept {
		s.body = bytes.Buffer{}
	}
	if cap(s.long) > maxKept {
		s.long = nil
	}
}

// read returns the body that r brings, at most limit bytes and one that says that there are more. On an error it returns
// what came. The bytes are valid until reset.
func (s *scratch) read(r io.Reader, limit int64) ([]byte, error) {
	_, err := s.body.ReadFrom(io.LimitReader(r, limit+1))
	return s.body.Bytes(), err
}

// movingBody is a request's body whose deadlines, and that of the answer, start anew while it moves.
type movingBody struct {
	body  io.Reader
	rc    *http.ResponseController
	renew time.Time // when to start them anew
}

func newMovingBody(w http.ResponseWriter, req *http.Request) *movingBody {
	return &movingBody{body: req.Body, rc: http.NewResponseController(w), renew: time.Now().Add(time.Second)}
}

func (b *movingBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if now := time.Now(); n > 0 && now.After(b.renew) {
		b.renew = now.Add(time.Second)
		// Without these the deadlines of the request's start hold, which a shorter upload meets.
		_ = b.rc.SetReadDeadline(now.Add(bodyTimeout))
		_ = b.rc.SetWriteDeadline(now.Add(bodyTimeout + answerTimeout))
	}
	return n, err
}

// Errors of splitLines.
var (
	errLineTooLong = errors.New("line too long")
	errTooMuch     = errors.New("too many bytes")
)

// splitLines calls f with each line of r that is not empty, without its \n; the last needs none, and a \r stays. It fails with
// errLineTooLong for a line of more than maxLine bytes, with errTooMuch after maxTotal bytes, or with r's error; f has then
// seen the lines before. It holds one line at most. A line is valid until f returns.
func (s *scratch) splitLines(r io.Reader, maxLine, maxTotal int64, f func(line []byte)) error {
	limited := &io.LimitedReader{R: r, N: maxTotal + 1}
	s.lines.Reset(limited)
	for {
		line, err := s.line(maxLine)
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF && limited.N == 0 {
			return errTooMuch
		}
		if len(line) > 0 {
			f(line)
		}
		if err == io.EOF {
			return nil
		}
	}
}

// line returns the next line; with io.EOF it may return a last one.
func (s *scratch) line(limit int64) ([]byte, error) {
	s.long = s.long[:0]
	for {
		part, err := s.lines.ReadSlice('\n')
		line := part
		if len(s.long) > 0 || err == bufio.ErrBufferFull {
			s.long = append(s.long, part...)
			line = s.long
		}
		if err == nil {
			line = line[:len(line)-1]
		}
		if int64(len(line)) > limit {
			return nil, errLineTooLong
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}
