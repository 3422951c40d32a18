package httpd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"brokerd/broker/bodies"
	"brokerd/broker/topic"
)

// maxKept is the memory in bytes that a scratch keeps of a body for the next request.
const maxKept = 64 << 10

// scratch is the memory of one publish; it is reused.
type scratch struct {
	body    bytes.Buffer
	share   bodies.Body // of the memory for bodies that are not whole
	reading *reading    // of the request; nil when there is none
	lines   *bufio.Reader
	long    []byte // a line longer than the reader's buffer
	batch   topic.Batch
}

func newScratch() *scratch { return &scratch{lines: bufio.NewReaderSize(nil, 16<<10)} }

// reset empties s and gives back what a large body needed.
func (s *scratch) reset() {
	s.share.End()
	if s.reading != nil {
		s.reading.end()
		s.reading = nil
	}
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

// held returns the bytes of memory that s takes.
func (s *scratch) held() int64 { return int64(s.body.Cap() + cap(s.long) + s.batch.Cap()) }

// movingBody is a request's body whose deadlines, and that of the answer, start anew while it moves. Once more of it has come than is
// free it holds a share of the node's memory for such bodies.
type movingBody struct {
	req     *http.Request
	rc      *http.ResponseController
	scratch *scratch
	total   int64     // bytes that are announced, or the limit
	arrived int64     // bytes
	renew   time.Time // when to start the deadlines anew
}

// reading is that of one request, which another goroutine may cut off as long as it goes on: the connection may then have the next request.
type reading struct {
	mu    sync.Mutex
	rc    *http.ResponseController
	ended bool
}

func (r *reading) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		_ = r.rc.SetReadDeadline(time.Unix(1, 0)) // which ends the reading
	}
}

func (r *reading) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// moving returns the body of a request, of which at most limit bytes are wanted.
func (a *api) moving(w http.ResponseWriter, req *http.Request, s *scratch, limit int64) *movingBody {
	b := &movingBody{req: req, rc: http.NewResponseController(w), scratch: s, total: limit, renew: time.Now().Add(time.Second)}
	if req.ContentLength >= 0 {
		b.total = min(limit, req.ContentLength)
	}
	if a.cfg.Unfinished != nil {
		s.reading = &reading{rc: b.rc}
		s.share = a.cfg.Unfinished.Begin(s.reading.cut)
	}
	return b
}

// errBusy is the answer when there is no room for one more large body.
func errBusy(err error) error { return refuse(http.StatusServiceUnavailable, "BUSY: "+err.Error()) }

func (b *movingBody) Read(p []byte) (int, error) {
	if held := b.scratch.held(); max(held, b.arrived) > bodies.Free {
		if err := b.scratch.share.Hold(max(b.total, held), b.arrived, func() error { return b.req.Context().Err() }); err != nil {
			return 0, errBusy(err)
		}
	}
	n, err := b.req.Body.Read(p)
	b.arrived += int64(n)
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
