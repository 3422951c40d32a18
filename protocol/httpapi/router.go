package httpapi

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"
)

// Router is a router that can tell its routes, so that tests can hold what is written about them to what there is.
type Router struct {
	*httprouter.Router
	routes []Route
}

// Route is one route of a daemon: a method, and a path as the router takes it, with :name and *name for what varies.
type Route struct{ Method, Path string }

// Handle adds a route.
func (r *Router) Handle(method, path string, h httprouter.Handle) {
	r.routes = append(r.routes, Route{method, path})
	r.Router.Handle(method, path, h)
}

// HandlerFunc adds a route without parameters.
func (r *Router) HandlerFunc(method, path string, h http.HandlerFunc) {
	r.Handle(method, path, func(w http.ResponseWriter, req *http.Request, _ httprouter.Params) { h(w, req) })
}

// Routes returns all routes in the order in which they were added.
func (r *Router) Routes() []Route { return slices.Clone(r.routes) }

// NewRouter returns a router without routes that answers as NSQ's daemons do where no route is met: 404 NOT_FOUND, 405
// METHOD_NOT_ALLOWED with Allow, 200 with Allow to OPTIONS, a redirect for a trailing slash or wrong case, and 500
// INTERNAL_ERROR when a handler panics. Each such answer but OPTIONS and redirects is logged.
func NewRouter(log *slog.Logger) *Router {
	r := httprouter.New()
	r.NotFound = unrouted(log, http.StatusNotFound, "NOT_FOUND")
	r.MethodNotAllowed = unrouted(log, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	r.PanicHandler = func(w http.ResponseWriter, req *http.Request, p any) {
		if p == http.ErrAbortHandler {
			panic(p) // net/http's own way to drop a connection
		}
		log.Error("http: handler panicked", "uri", req.RequestURI, "panic", p, "stack", string(debug.Stack()))
		RespondV1(w, http.StatusInternalServerError, "INTERNAL_ERROR")
	}
	return &Router{Router: r}
}

func unrouted(log *slog.Logger, code int, text string) http.Handler {
	handle := Logged(log, V1(func(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
		return nil, &Error{Code: code, Text: text}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { handle(w, req, nil) })
}

// AdmindAgent begins the user agent of an admind. What it asks for every few seconds is for nobody's log.
const AdmindAgent = "admind/"

// Logged wraps a route so that each request leaves one line at level info, as NSQ's daemons do: status, method, URI, remote
// address, time taken. What an admind only reads, and gets, is at level debug: it asks every daemon all the time.
func Logged(log *slog.Logger, handle httprouter.Handle) httprouter.Handle {
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) {
		start := time.Now()
		sw := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		handle(sw, req, ps)
		level := slog.LevelInfo
		if req.Method == http.MethodGet && sw.code == http.StatusOK && strings.HasPrefix(req.UserAgent(), AdmindAgent) {
			level = slog.LevelDebug
		}
		log.Log(req.Context(), level, "http", "status", sw.code, "method", req.Method, "uri", req.URL.RequestURI(),
			"remote", req.RemoteAddr, "took", time.Since(start))
	}
}

// statusWriter remembers the status that was written.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// AddPprof adds the routes under /debug/pprof/ that NSQ's daemons have. Importing net/http/pprof also fills
// http.DefaultServeMux, which no daemon serves.
func AddPprof(r *Router) {
	r.HandlerFunc(http.MethodGet, "/debug/pprof/", pprof.Index)
	r.HandlerFunc(http.MethodGet, "/debug/pprof/cmdline", pprof.Cmdline)
	r.HandlerFunc(http.MethodGet, "/debug/pprof/symbol", pprof.Symbol)
	r.HandlerFunc(http.MethodPost, "/debug/pprof/symbol", pprof.Symbol)
	r.HandlerFunc(http.MethodGet, "/debug/pprof/profile", patient(pprof.Profile))
	for _, name := range []string{"heap", "goroutine", "block", "mutex", "allocs", "threadcreate"} {
		r.HandlerFunc(http.MethodGet, "/debug/pprof/"+name, patient(pprof.Handler(name).ServeHTTP))
	}
	r.HandlerFunc(http.MethodGet, "/debug/pprof/trace", patient(pprof.Trace))
}

// patient lifts a server's ReadTimeout from a request that is answered for as long as its caller asks: when it passes the
// request counts as given up. The profiles extend a WriteTimeout themselves.
func patient(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		h(w, req)
	}
}
