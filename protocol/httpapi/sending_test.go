package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/julienschmidt/httprouter"
)

// stuck is a caller that does not read before it is let go on.
type stuck struct {
	*httptest.ResponseRecorder
	waits chan<- struct{} // told that it is being sent something
	goOn  <-chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	s.waits <- struct{}{}
	<-s.goOn
	return s.ResponseRecorder.Write(p)
}

// TestCallersWhoDoNotRead take no more memory than there is for large answers. Others are refused meanwhile, and small answers are not.
func TestCallersWhoDoNotRead(t *testing.T) {
	all := &budget{most: 3 * largeAnswer}
	text := strings.Repeat("x", largeAnswer)
	route := v1(func(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
		if req.URL.Path == "/small" {
			return []string{"a"}, nil
		}
		return []string{text}, nil
	}, all, make(chan struct{}, 1))
	other := v1(func(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) { return []string{"b"}, nil }, all, nil)
	ask := func(w http.ResponseWriter, route httprouter.Handle, path string) {
		route(w, httptest.NewRequest(http.MethodGet, path, nil), nil)
	}
	code := func(route httprouter.Handle, path string) int {
		w := httptest.NewRecorder()
		ask(w, route, path)
		return w.Code
	}
	waits, goOn := make(chan struct{}), make(chan struct{})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() { ask(stuck{httptest.NewRecorder(), waits, goOn}, route, "/large") })
		<-waits
	}
	if got := code(route, "/large"); got != http.StatusServiceUnavailable {
		t.Errorf("while two do not read a third gets %d", got)
	}
	if got := code(other, "/"); got != http.StatusOK {
		t.Errorf("a route with small answers gives %d", got)
	}
	close(goOn)
	asking.Wait()
	for _, path := range []string{"/large", "/small", "/large"} {
		if got := code(route, path); got != http.StatusOK {
			t.Errorf("%s: %d when all have read", path, got)
		}
	}
	if used := all.used.Load(); used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
	all.most = 1
	if got := code(route, "/large"); got != http.StatusOK {
		t.Errorf("one alone that needs more than all gets %d", got)
	}
}
