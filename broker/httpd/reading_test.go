package httpd

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// deadlined counts how often the reading was cut off.
type deadlined struct {
	http.ResponseWriter
	cuts int
}

func (d *deadlined) SetReadDeadline(time.Time) error { d.cuts++; return nil }

// TestNoRequestIsCutForTheOneBefore: who cuts off a body that has just ended does not cut off what comes next on the connection.
func TestNoRequestIsCutForTheOneBefore(t *testing.T) {
	w := &deadlined{ResponseWriter: httptest.NewRecorder()}
	r := &reading{rc: http.NewResponseController(w)}
	r.cut()
	if w.cuts != 1 {
		t.Errorf("a body that arrives was cut off %d times", w.cuts)
	}
	r.end()
	r.cut()
	if w.cuts != 1 {
		t.Errorf("one that has ended was cut off: %d", w.cuts)
	}
}
