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

	"brokerd/protocol/grant"
)

// Router leads requests to the handlers of a daemon. Each route has a Rule, and is reached only by those whom the Door and the Rule
// let in.
type Router struct {
	door   *Door
	log    *slog.Logger
	router *httprouter.Router
	routes []Route
}

// Route is one that was added to a Router.
type Route struct {
	Method, Path string
	Rule         Rule
}

// NewRouter returns a router without routes that answers as NSQ's daemons do where no route is met: 404 NOT_FOUND, 405
// METHOD_NOT_ALLOWED with Allow, 200 with Allow to OPTIONS, a redirect for a trailing slash or wrong case, and 500
// INTERNAL_ERROR when a handler panics. Each such answer but OPTIONS and redirects is logged.
func NewRouter(log *slog.Logger, door Door) *Router {
	r := httprouter.New()
	r.NotFound = unrouted(log, http.StatusNotFound, "NOT_FOUND")
	r.MethodNotAllowed = unrouted(log, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	r.PanicHandler = func(w http.ResponseWriter, req *http.Request, p any) {
		if p == http.ErrAbortHandler {
			panic(p) // net/http's own way to drop a connection
		}
		log.Error("http: handler panicked", "uri", LoggedURI(req.URL), "panic", p, "stack", string(debug.Stack()))
		RespondV1(w, http.StatusInternalServerError, "INTERNAL_ERROR")
	}
	return &Router{door: door.open(), log: log, router: r}
}

// Handle adds a route.
func (r *Router) Handle(method, path string, rule Rule, handle httprouter.Handle) {
	r.routes = append(r.routes, Route{method, path, rule})
	r.router.Handle(method, path, func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) {
		acts := r.door.Audit != nil && rule.Changes(method)
		admitted, err := r.door.admit(req, ps, rule)
		if err == nil && rule.hidden {
			err = r.door.foreign(req)
		}
		if err != nil {
			if acts {
				r.door.Audit.Write(actOf(admitted, asError(err).Code))
			}
			r.refuse(w, req, err)
			return
		}
		if !acts {
			handle(w, admitted, ps)
			return
		}
		sw := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		handle(sw, admitted, ps)
		r.door.Audit.Write(actOf(admitted, sw.code))
	})
}

// HandlerFunc adds a route to a handler of net/http.
func (r *Router) HandlerFunc(method, path string, rule Rule, handle http.HandlerFunc) {
	r.Handle(method, path, rule, func(w http.ResponseWriter, req *http.Request, _ httprouter.Params) { handle(w, req) })
}

// Routes returns what was added, in that order.
func (r *Router) Routes() []Route { return slices.Clone(r.routes) }

// ServeHTTP answers a request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if err := r.door.stranger(req); err != nil {
		if r.door.Refused != nil {
			r.door.Refused(req, err)
		}
		r.refuse(w, req, err)
		return
	}
	if req.TLS != nil && req.ProtoMajor == 1 && len(req.TransferEncoding) > 0 {
		w.Header().Set("Connection", "close") // see Strict
	}
	r.router.ServeHTTP(w, req)
}

// refuse answers a request that is not let in, and logs it.
func (r *Router) refuse(w http.ResponseWriter, req *http.Request, err error) {
	asks(w, err)
	Logged(r.log, V1(func(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) { return nil, err }))(w, req, nil)
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
		log.Log(req.Context(), level, "http", "status", sw.code, "method", req.Method, "uri", LoggedURI(req.URL),
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
	add := func(method, name string, h http.HandlerFunc) {
		r.HandlerFunc(method, "/debug/pprof/"+name, Needs(grant.Admin).Local(), h)
	}
	add(http.MethodGet, "", pprof.Index)
	add(http.MethodGet, "cmdline", pprof.Cmdline)
	add(http.MethodGet, "symbol", pprof.Symbol)
	add(http.MethodPost, "symbol", pprof.Symbol)
	add(http.MethodGet, "profile", patient(pprof.Profile))
	for _, name := range []string{"heap", "goroutine", "block", "mutex", "allocs", "threadcreate"} {
		add(http.MethodGet, name, patient(pprof.Handler(name).ServeHTTP))
	}
	add(http.MethodGet, "trace", patient(pprof.Trace))
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
