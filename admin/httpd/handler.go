package httpd

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/access"
	"brokerd/admin/audit"
	"brokerd/admin/cluster"
	"brokerd/admin/views"
	"brokerd/protocol/httpapi"
)

// Config is what the API is made of.
type Config struct {
	Cluster *cluster.Cluster
	Maker   *views.Maker
	Guard   *access.Guard
	Trail   *audit.Trail
	Notify  *audit.Notifier
	Log     *slog.Logger

	UI           fs.FS  // the pages' files, index.html at the top
	DevStaticDir string // read instead of UI, at each request; empty for UI
	BasePath     string // begins with a slash, does not end with one; empty for the root
	Version      string
	Hostname     string
	Refresh      time.Duration          // between two states of the cluster
	Warnings     []string               // shown on every page
	HostAllowed  func(host string) bool // hosts that browsers may call this server by; nil for all
	ConfigFrom   *netip.Prefix          // who may use /config; nil for everybody
	Settings     Settings
	Graphite     Graphite
	Stop         <-chan struct{} // closed when event streams are to end
}

// Settings answers /config.
type Settings interface {
	// Config returns an option by its key: a string, or a value that encodes to JSON.
	Config(key string) (value any, ok bool)
	// SetLogLevel changes the level from now on; it fails for a word that names none.
	SetLogLevel(word string) error
}

type api struct {
	Config
	assets *assets
}

// New returns the whole API. It fails when the UI's files cannot be read.
func New(cfg Config) (http.Handler, error) {
	a := &api{Config: cfg}
	var err error
	if a.assets, err = newAssets(cfg.UI, cfg.BasePath); err != nil {
		return nil, err
	}
	r := httpapi.NewRouter(cfg.Log)
	handle := func(method, path string, h httprouter.Handle) {
		r.Handle(method, cfg.BasePath+path, httpapi.Logged(cfg.Log, h))
	}
	v1 := func(method, path string, h httpapi.HandlerFunc) { handle(method, path, httpapi.V1(h)) }

	handle("GET", "/ping", httpapi.Plain(ping))
	for _, page := range []string{"/", "/topics", "/topics/:topic", "/topics/:topic/:channel", "/nodes", "/nodes/:node", "/lookup",
		"/counter", "/consumers", "/search", "/sign-in"} {
		handle("GET", page, a.page)
	}
	handle("GET", "/static/*file", a.asset)
	v1("GET", "/api/session", a.session)
	v1("POST", "/api/session", a.signIn)
	v1("DELETE", "/api/session", a.signOut)

	v1("GET", "/api/topics", a.sees(a.topics))
	v1("GET", "/api/topics/:topic", a.sees(a.topic))
	v1("GET", "/api/topics/:topic/:channel", a.sees(a.channel))
	v1("GET", "/api/nodes", a.sees(a.nodes))
	v1("GET", "/api/nodes/:node", a.sees(a.node))
	v1("GET", "/api/counter", a.sees(a.counter))
	v1("GET", "/api/graphite", a.sees(a.rate))
	v1("GET", "/config/:opt", a.configured(access.Viewer, a.getConfig))
	v1("PUT", "/config/:opt", a.configured(access.Operator, a.putConfig))
	if cfg.Graphite.Proxied {
		handle("GET", "/render", a.plot())
	}

	v1("GET", "/api/view/:view", a.sees(a.view))
	handle("GET", "/api/events", a.events)
	v1("GET", "/api/history", a.sees(a.history))
	v1("GET", "/api/history/sparks", a.sees(a.sparks))
	v1("GET", "/api/search", a.sees(a.search))

	v1("POST", "/api/topics", a.acts(a.create))
	v1("POST", "/api/topics/:topic", a.acts(a.onTopic))
	v1("POST", "/api/topics/:topic/:channel", a.acts(a.onChannel))
	v1("DELETE", "/api/topics/:topic", a.acts(a.deleteTopic))
	v1("DELETE", "/api/topics/:topic/:channel", a.acts(a.deleteChannel))
	v1("DELETE", "/api/nodes/:node", a.acts(a.tombstone))
	v1("POST", "/api/publish", a.acts(a.publish))
	return compress(secured(r)), nil
}

// CleanBasePath returns a base path as Config has it.
func CleanBasePath(text string) string {
	return strings.TrimSuffix(path.Clean("/"+text), "/")
}

func ping(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) { return "OK", nil }

// secured adds the headers that keep pages from being framed, sniffed or told about elsewhere.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("Referrer-Policy", "same-origin")
		if strings.Contains(r.URL.Path, "/api/") {
			w.Header().Set("Cache-Control", "no-store")
		}
		h.ServeHTTP(w, r)
	})
}

// refuse returns an answer other than 200.
func refuse(code int, text string) error { return &httpapi.Error{Code: code, Text: text} }

// caller returns who a request is from, at least of the given role.
func (a *api) caller(w http.ResponseWriter, r *http.Request, least access.Role) (access.Caller, error) {
	c, err := a.Guard.Who(r)
	if err != nil {
		return c, a.signInError(w, err)
	}
	switch {
	case c.Role >= least:
		return c, nil
	case c.Role == access.None && a.Guard.Way() == access.Users:
		return c, refuse(http.StatusUnauthorized, "SIGN_IN_REQUIRED")
	}
	return c, refuse(http.StatusForbidden, "FORBIDDEN")
}

// signInError is the answer to a password that was not taken.
func (a *api) signInError(w http.ResponseWriter, err error) error {
	var many *access.TooMany
	switch {
	case errors.As(err, &many):
		w.Header().Set("Retry-After", strconv.Itoa(int(many.RetryAfter/time.Second)+1))
		return refuse(http.StatusTooManyRequests, many.Error())
	case errors.Is(err, access.ErrBadCredentials):
		return refuse(http.StatusUnauthorized, err.Error())
	case errors.Is(err, access.ErrNoForm):
		return refuse(http.StatusBadRequest, err.Error())
	}
	return err
}

// sees makes a handler answer only those who may see.
func (a *api) sees(h httpapi.HandlerFunc) httpapi.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
		if _, err := a.caller(w, r, access.Viewer); err != nil {
			return nil, err
		}
		return h(w, r, ps)
	}
}

// ours refuses a request that changes something when a browser did not send it from our own pages.
func (a *api) ours(r *http.Request, c access.Caller) error {
	if err := a.Guard.MayAct(r, c); err != nil {
		if errors.Is(err, access.ErrToken) {
			return refuse(http.StatusForbidden, "CSRF_TOKEN")
		}
		return refuse(http.StatusForbidden, "CROSS_ORIGIN")
	}
	// A page of another site that makes its own name mean this address is of the same origin to the browser.
	fromBrowser := r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != ""
	if host := hostOf(r); fromBrowser && a.HostAllowed != nil && !a.HostAllowed(host) {
		return refuse(http.StatusForbidden, "HOST_NOT_ALLOWED: this admind is not known by the name "+host+"; add --allowed-host="+host)
	}
	return nil
}

func hostOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return strings.Trim(r.Host, "[]")
}
