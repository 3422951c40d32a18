package httpd

import (
	"testing"
	"time"
)

// FuzzParseMoment: whatever somebody writes as a time is one or is not, never a crash; what is read is read the same when it is written
// out again.
func FuzzParseMoment(f *testing.F) {
	for _, seed := range []string{"0", "-1", "1764343434000", "9223372036854775807", "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.123+02:00",
		"2026-01-31T10:00:00 02:00", "2026-01-31", "tomorrow", "", "1e3", "0001-01-01T00:00:00Z"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, ok := parseMoment(text)
		if !ok {
			return
		}
		if y := at.UTC().Year(); y < 0 || y > 9999 {
			return // RFC 3339 has no more
		}
		if again, ok := parseMoment(at.UTC().Format(time.RFC3339Nano)); !ok || !again.Equal(at) {
			t.Errorf("%q is %v, and that is read as %v, %v", text, at, again, ok)
		}
	})
}
