package httpd

import (
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
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
	// SetLookups has other lookups asked from now on; it fails where brokers are asked, and for addresses that are none.
	SetLookups(addresses []string) error
}

type api struct {
	Config
	assets *assets
	large  chan struct{} // places for requests with a large body
}

// New returns the whole API. It fails when the UI's files cannot be read.
func New(cfg Config) (http.Handler, error) {
	a := &api{Config: cfg, large: make(chan struct{}, largeAtOnce)}
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

// handle adds a route, which is reached by those only whom its rule lets in; a Rule of value zero lets in nobody. Who may GET may HEAD: net/http
// leaves the body out.
func (a *api) handle(r *httpapi.Router, method, path string, rule httpapi.Rule, h httprouter.Handle) {
	h = httpapi.Logged(a.Log, a.admitting(rule, h))
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
		a.handle(r, "GET", "/render", httpapi.Needs(grant.Read), a.plot()) // of any topic
	}
}

// reads adds what viewers may ask for: nsqadmin's answers first, then the pages' own.
func (a *api) reads(r *httpapi.Router) {
	some, all, onTopic := httpapi.NeedsSome(grant.Read), httpapi.Needs(grant.Read), httpapi.NeedsOnPath(grant.Read)
	for _, route := range []struct {
		path string
		rule httpapi.Rule
		h    httpapi.HandlerFunc
	}{
		{"/api/topics", some, a.topics},
		{"/api/topics/:topic", onTopic, a.topic},
		{"/api/topics/:topic/:channel", onTopic, a.channel},
		{"/api/nodes", some, a.nodes},
		{"/api/nodes/:node", some, a.node},
		{"/api/counter", some, a.counter},
		{"/api/graphite", all, a.rate},

		{"/api/view/:view", some, a.view},
		{"/api/history", some, a.history},
		{"/api/history/sparks", some, a.sparks},
		{"/api/search", some, a.search},
		{"/api/letters", httpapi.NeedsOnTopic(grant.Read), a.letters},

		{"/api/messages/:topic/:channel", onTopic, a.messages},
		{"/api/browse/:topic", httpapi.NeedsOnPath(grant.Consume).Hidden(), a.browse},
		{"/api/message/:topic", httpapi.NeedsOnPath(grant.Consume).Hidden(), a.trace},
		{"/api/preview/:topic/:channel", httpapi.NeedsOnPath(grant.Manage), a.preview},
		{"/api/options/:topic", onTopic, a.options},
		{"/api/options/:topic/:channel", onTopic, a.options},
		{"/api/nodes/:node/settings", httpapi.Needs(grant.Admin), a.nodeSettings},
		{"/config", all, a.configured(a.getSettings)},
		{"/config/:opt", all, a.configured(a.getConfig)},
	} {
		a.handle(r, "GET", route.path, route.rule, httpapi.V1(route.h))
	}
	if a.Metrics != nil {
		a.handle(r, "GET", "/metrics", all, a.metrics) // sums over all topics
	}
	a.handle(r, "GET", "/api/events", some, a.events)
	a.handle(r, "GET", "/api/session", httpapi.Public(), httpapi.V1(a.session))
}

// deeds adds what changes something.
func (a *api) deeds(r *httpapi.Router) {
	// Where the topic stands in the body it is for the handler to look whether the caller may act on it.
	some, onTopic := httpapi.NeedsSome(grant.Manage), httpapi.NeedsOnPath(grant.Manage)
	for _, route := range []struct {
		method, path string
		rule         httpapi.Rule
		h            func(*deed) (done, error)
	}{
		{"POST", "/api/topics", some, a.create},
		{"POST", "/api/topics/:topic", onTopic, a.onTopic},
		{"POST", "/api/topics/:topic/:channel", onTopic, a.onChannel},
		{"DELETE", "/api/topics/:topic", onTopic, a.deleteTopic},
		{"DELETE", "/api/topics/:topic/:channel", onTopic, a.deleteChannel},
		{"DELETE", "/api/nodes/:node", some, a.tombstone},
		{"POST", "/api/nodes/:node", httpapi.Needs(grant.Admin), a.onNode},
		{"POST", "/api/publish", httpapi.NeedsSome(grant.Publish), a.publish},
	} {
		a.handle(r, route.method, route.path, route.rule, httpapi.V1(a.acts(route.h)))
	}
	a.handle(r, "POST", "/api/session", httpapi.Public(), httpapi.V1(a.signIn))
	a.handle(r, "DELETE", "/api/session", httpapi.Public(), httpapi.V1(a.signOut))
	a.handle(r, "PUT", "/config", httpapi.Needs(grant.Admin), httpapi.V1(a.configured(a.reload)))
	a.handle(r, "PUT", "/config/:opt", httpapi.Needs(grant.Admin), httpapi.V1(a.configured(a.putConfig)))
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

// metrics answers a Prometheus that may see.
func (a *api) metrics(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	a.Metrics.ServeHTTP(w, r)
}
