package httpd

import (
	"errors"
	"io/fs"
	"log/slog"
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
	"brokerd/protocol/grant"
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

	Metrics http.Handler // answers /metrics; nil for none

	UI           fs.FS  // the pages' files, index.html at the top
	DevStaticDir string // read instead of UI, at each request; empty for UI
	BasePath     string // begins with a slash, does not end with one; empty for the root
	Version      string
	Hostname     string
	Refresh      time.Duration // between two states of the cluster
	Warnings     []string      // shown on every page
	Door         httpapi.Door  // which sites and names are let in; who may do what the Guard says
	ConfigFrom   *netip.Prefix // who may use /config; nil for everybody
	Settings     Settings
	Graphite     Graphite
	Stop         <-chan struct{} // closed when event streams are to end
}

// Settings answers /config.
type Settings interface {
	// Config returns an option by its key: a string, or a value that encodes to JSON.
	Config(key string) (value any, ok bool)
	// List returns every setting.
	List() httpapi.Settings
	// Reload reads the settings anew. When it fails nothing has changed, and the error says why.
	Reload() error
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
	a.Door.Refused = a.strangerRefused
	r := httpapi.NewRouter(cfg.Log, a.Door)
	a.pages(r)
	a.reads(r)
	a.deeds(r)
	return compress(secured(r)), nil
}

// handle adds a route. Who may GET may HEAD: net/http leaves the body out. Rules other than Public are kept to by the handlers, who ask
// the Guard.
func (a *api) handle(r *httpapi.Router, method, path string, rule httpapi.Rule, h httprouter.Handle) {
	h = httpapi.Logged(a.Log, h)
	r.Handle(method, a.BasePath+path, rule, h)
	if method == http.MethodGet {
		r.Handle(http.MethodHead, a.BasePath+path, rule, h)
	}
}

// pages adds what browsers load.
func (a *api) pages(r *httpapi.Router) {
	a.handle(r, "GET", "/ping", httpapi.Public(), httpapi.Plain(ping))
	a.handle(r, "GET", "/ready", httpapi.Public(), httpapi.Plain(a.ready))
	for _, page := range []string{"/", "/topics", "/topics/:topic", "/topics/:topic/:channel", "/nodes", "/nodes/:node", "/lookup",
		"/counter", "/consumers", "/search", "/sign-in"} {
		a.handle(r, "GET", page, httpapi.Public(), a.page)
	}
	a.handle(r, "GET", "/static/*file", httpapi.Public(), a.asset)
	a.handle(r, "GET", "/docs/*page", httpapi.Public(), a.documentation)
	if a.Graphite.Proxied {
		a.handle(r, "GET", "/render", httpapi.NeedsSome(grant.Read), a.plot())
	}
}

// reads adds what viewers may ask for: nsqadmin's answers first, then the pages' own.
func (a *api) reads(r *httpapi.Router) {
	for path, h := range map[string]httpapi.HandlerFunc{
		"/api/topics":                 a.topics,
		"/api/topics/:topic":          a.topic,
		"/api/topics/:topic/:channel": a.channel,
		"/api/nodes":                  a.nodes,
		"/api/nodes/:node":            a.node,
		"/api/counter":                a.counter,
		"/api/graphite":               a.rate,

		"/api/view/:view":     a.view,
		"/api/history":        a.history,
		"/api/history/sparks": a.sparks,
		"/api/search":         a.search,
	} {
		a.handle(r, "GET", path, httpapi.NeedsSome(grant.Read), httpapi.V1(a.sees(h)))
	}
	if a.Metrics != nil {
		a.handle(r, "GET", "/metrics", httpapi.NeedsSome(grant.Read), a.metrics)
	}
	a.handle(r, "GET", "/api/events", httpapi.NeedsSome(grant.Read), a.events)
	a.handle(r, "GET", "/api/nodes/:node/settings", httpapi.NeedsSome(grant.Read), httpapi.V1(a.nodeSettings))
	a.handle(r, "GET", "/api/session", httpapi.Public(), httpapi.V1(a.session))
	a.handle(r, "GET", "/config", httpapi.NeedsSome(grant.Read), httpapi.V1(a.configured(access.Viewer, a.getSettings)))
	a.handle(r, "GET", "/config/:opt", httpapi.NeedsSome(grant.Read), httpapi.V1(a.configured(access.Viewer, a.getConfig)))
}

// deeds adds what changes something.
func (a *api) deeds(r *httpapi.Router) {
	for route, h := range map[[2]string]func(*deed) (done, error){
		{"POST", "/api/topics"}:                   a.create,
		{"POST", "/api/topics/:topic"}:            a.onTopic,
		{"POST", "/api/topics/:topic/:channel"}:   a.onChannel,
		{"DELETE", "/api/topics/:topic"}:          a.deleteTopic,
		{"DELETE", "/api/topics/:topic/:channel"}: a.deleteChannel,
		{"DELETE", "/api/nodes/:node"}:            a.tombstone,
		{"POST", "/api/nodes/:node"}:              a.onNode,
		{"POST", "/api/publish"}:                  a.publish,
	} {
		a.handle(r, route[0], route[1], httpapi.NeedsSome(grant.Manage), httpapi.V1(a.acts(h)))
	}
	a.handle(r, "POST", "/api/session", httpapi.Public(), httpapi.V1(a.signIn))
	a.handle(r, "DELETE", "/api/session", httpapi.Public(), httpapi.V1(a.signOut))
	a.handle(r, "PUT", "/config", httpapi.Needs(grant.Admin), httpapi.V1(a.configured(access.Operator, a.reload)))
	a.handle(r, "PUT", "/config/:opt", httpapi.Needs(grant.Admin), httpapi.V1(a.configured(access.Operator, a.putConfig)))
}

// nameOf returns a topic's or channel's name in the path. A ~ before it, which attention.TopicPath writes, is none of the name.
func nameOf(ps httprouter.Params, what string) string {
	return strings.TrimPrefix(ps.ByName(what), "~")
}

// CleanBasePath returns a base path as Config has it.
func CleanBasePath(text string) string {
	return strings.TrimSuffix(path.Clean("/"+text), "/")
}

func ping(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) { return "OK", nil }

// ready tells whether there is a state of the cluster to show.
func (a *api) ready(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	if a.Cluster.View().Seq == 0 {
		return nil, refuse(http.StatusServiceUnavailable, "NOT READY - the daemons are asked for the first time")
	}
	return "OK", nil
}

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

// metrics answers a Prometheus that may see.
func (a *api) metrics(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	if _, err := a.caller(w, r, access.Viewer); err != nil {
		httpapi.RespondError(w, err)
		return
	}
	a.Metrics.ServeHTTP(w, r)
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

// ours refuses a request that changes something when it does not carry its session's token. The Door has seen to it already that no
// other site's page sent it.
func (a *api) ours(r *http.Request, c access.Caller) error {
	if err := a.Guard.MayAct(r, c); err != nil {
		return refuse(http.StatusForbidden, err.Error())
	}
	return nil
}

// strangerRefused writes down an act that the Door refused.
func (a *api) strangerRefused(r *http.Request, err error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return
	}
	act := audit.Act{Time: time.Now(), Action: strings.ToLower(r.Method) + " " + r.URL.Path, Result: "refused", Error: err.Error()}
	act.From(r)
	a.Trail.Write(act)
}
