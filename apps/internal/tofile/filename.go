package tofile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The words that stand for something in --filename-format, and in --host-identifier.
const (
	wordTopic     = "<TOPIC>"
	wordHost      = "<HOST>"
	wordPID       = "<PID>"
	wordDatetime  = "<DATETIME>"
	wordRev       = "<REV>"
	wordShortHost = "<SHORT_HOST>"
	wordHostname  = "<HOSTNAME>"
)

// namer makes the names of one topic's files.
type namer struct {
	format   string // with wordDatetime and wordRev left in it
	datetime string
	location *time.Location
}

var errNoRev = errors.New("missing <REV> in --filename-format when gzip, rotation, or work dir enabled")

// newNamer resolves what does not change. When revised is false there is but one file for a time, and <REV> stands for nothing.
func newNamer(o *options, topic string, revised bool) (namer, error) {
	format := o.filenameFormat
	switch {
	case !revised:
		format = strings.ReplaceAll(format, wordRev, "")
	case !strings.Contains(format, wordRev):
		return namer{}, errNoRev
	}
	host, err := hostIdentifier(o.hostIdentifier)
	if err != nil {
		return namer{}, err
	}
	format = strings.NewReplacer(wordTopic, topic, wordHost, host, wordPID, strconv.Itoa(os.Getpid())).Replace(format)
	if suffix := o.compression().suffix; !strings.HasSuffix(format, suffix) {
		format += suffix
	}
	n := namer{format: format, datetime: o.datetimeFormat, location: time.Local}
	if o.utc {
		n.location = time.UTC
	}
	name := n.name(time.Time{}) // no time has other separators than this one
	if !filepath.IsLocal(name) || name == "." || strings.HasSuffix(format, "/") || revised && !strings.Contains(name, wordRev) {
		return namer{}, fmt.Errorf("--filename-format %q makes no name of a file below --output-dir", o.filenameFormat)
	}
	return n, nil
}

// hostIdentifier is what <HOST> stands for.
func hostIdentifier(format string) (string, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return "", err
	}
	short, _, _ := strings.Cut(hostname, ".")
	if format == "" {
		return short, nil
	}
	return strings.NewReplacer(wordShortHost, short, wordHostname, hostname).Replace(format), nil
}

// name is the path of the file that a message of the time t belongs to, relative to the folders, with <REV> left in it.
func (n namer) name(t time.Time) string {
	return filepath.Clean(strings.ReplaceAll(n.format, wordDatetime, formatTime(n.datetime, t.In(n.location))))
}

// revise puts the revision into a name.
func revise(name string, rev int) string {
	return strings.ReplaceAll(name, wordRev, fmt.Sprintf("-%06d", rev))
}

// layouts are the letters that may follow % in --datetime-format, each with Go's layout for it.
var layouts = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'B': "January", 'b': "Jan", 'd': "02", 'A': "Monday", 'a': "Mon",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'Z': "MST", 'z': "-0700",
}

// formatTime writes t as strftime does for the letters of layouts and %%. Everything else stays as it is.
func formatTime(format string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		layout, ok := layouts[format[i]]
		switch {
		case ok:
			b.WriteString(t.Format(layout))
		case format[i] == '%':
			b.WriteByte('%')
		default:
			b.WriteByte('%')
			b.WriteByte(format[i])
		}
	}
	return b.String()
}
