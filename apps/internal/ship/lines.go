package ship

import (
	"bytes"
	"regexp"
)

// liner cuts what is read from a file into lines.
type liner struct {
	max     int    // bytes of a line; what is longer becomes several
	partial []byte // of a line whose end has not been read
}

// split calls line with each line that data ends, without its newline, and with how many bytes of the file it takes. The text is good
// until line returns or is part of data.
func (l *liner) split(data []byte, line func(text []byte, size int)) {
	for len(data) > 0 {
		at := bytes.IndexByte(data, '\n')
		rest := at < 0
		if rest {
			at = len(data)
		}
		if room := l.max - len(l.partial); at > room {
			line(l.take(data[:room]), l.max)
			data = data[room:]
			continue
		}
		if rest {
			l.partial = append(l.partial, data...)
			return
		}
		text := l.take(data[:at])
		line(text, len(text)+1)
		data = data[at+1:]
	}
}

// take joins what is left of a line with its end.
func (l *liner) take(end []byte) []byte {
	if len(l.partial) == 0 {
		return end
	}
	whole := append(bytes.Clone(l.partial), end...)
	l.partial = l.partial[:0]
	return whole
}

// joiner makes messages of lines. Without patterns each line is one.
type joiner struct {
	start     *regexp.Regexp // matches a line that begins a message; nil: none is asked for
	continues *regexp.Regexp // matches a line that belongs to the message before it; nil: none is asked for
	max       int            // bytes of a message that are not a single line

	pending []byte
	lines   int   // that pending has
	end     int64 // offset in the file behind pending
}

// add takes a line that ends at an offset, and calls message for each that is complete with it. The body is good until the next call.
func (j *joiner) add(text []byte, end int64, message func(body []byte, end int64)) {
	if j.start == nil && j.continues == nil {
		message(text, end)
		return
	}
	begins := j.start != nil && j.start.Match(text) || j.continues != nil && !j.continues.Match(text)
	if begins || len(j.pending)+1+len(text) > j.max {
		j.flush(message)
	}
	if j.lines > 0 {
		j.pending = append(j.pending, '\n')
	}
	j.pending = append(j.pending, text...)
	j.lines, j.end = j.lines+1, end
}

// flush calls message for what is pending, if anything is.
func (j *joiner) flush(message func(body []byte, end int64)) {
	if j.lines == 0 {
		return
	}
	message(bytes.Clone(j.pending), j.end)
	j.pending, j.lines = j.pending[:0], 0
}
