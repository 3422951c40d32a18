package httpd

import (
	"errors"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/lately"
	"brokerd/broker/topic"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// api answers requests.
type api struct {
	cfg     Config
	scratch sync.Pool     // of *scratch
	looking chan struct{} // places for requests that read messages
	history chan struct{} // the place for one that reads the log

	acts    map[string]httpapi.HandlerFunc // by method and path, what other brokers may have done here
	deleted lately.Set                     // channels of replicated topics
}

// lookAtOnce is how many requests read messages at the same time, not to take the disk from others.
const lookAtOnce = 4

// newHandler returns the whole API.
func newHandler(cfg Config) *httpapi.Router { return newAPI(cfg).routes() }

func newAPI(cfg Config) *api {
	return &api{cfg: cfg, scratch: sync.Pool{New: func() any { return newScratch() }}, looking: make(chan struct{}, lookAtOnce), history: make(chan struct{}, 1),
		acts: map[string]httpapi.HandlerFunc{}}
}

// routes makes the routes of it; once.
func (a *api) routes() *httpapi.Router {
	cfg := a.cfg
	r := httpapi.NewRouter(cfg.Log, cfg.Door)
	v1 := func(method, path string, rule httpapi.Rule, h httpapi.HandlerFunc) {
		r.Handle(method, path, rule, a.metered(httpapi.Logged(cfg.Log, httpapi.V1(h))))
	}
	led := func(method, path string, rule httpapi.Rule, h httpapi.HandlerFunc) {
		v1(method, path, rule, a.anywhere(method+" "+path, h))
	}
	ledWith := func(method, path string, rule httpapi.Rule, h httpapi.HandlerFunc) { // what the body of the request says
		v1(method, path, rule, a.withBody(a.anywhere(method+" "+path, h)))
	}
	plain := func(method, path string, rule httpapi.Rule, h httpapi.HandlerFunc) {
		r.Handle(method, path, rule, httpapi.Logged(cfg.Log, httpapi.Plain(h)))
	}
	looks := func(path string, rule httpapi.Rule, l look) {
		r.Handle("GET", path, rule, a.metered(httpapi.Logged(cfg.Log, a.inPlace(httpapi.V1(a.lookAnywhere("GET "+path, l))))))
	}
	publishes, reads, manages := httpapi.NeedsOnTopic(grant.Publish), httpapi.NeedsOnTopic(grant.Read), httpapi.NeedsOnTopic(grant.Manage)
	consumes := httpapi.NeedsOnTopic(grant.Consume).Hidden()
	readsSome, admin := httpapi.NeedsSome(grant.Read), httpapi.Needs(grant.Admin)
	r.Handle("POST", "/pub", publishes, a.metered(httpapi.V1(a.pub)))
	r.Handle("POST", "/mpub", publishes, a.metered(httpapi.V1(a.mpub)))
	plain("GET", "/ping", httpapi.Public(), a.ping)
	plain("GET", "/ready", httpapi.Public(), a.ready)
	v1("GET", "/info", readsSome, a.info)
	r.Handle("GET", "/stats", readsSome, a.metered(httpapi.Logged(cfg.Log, httpapi.Lists(a.stats))))
	if cfg.Metrics != nil {
		r.HandlerFunc("GET", "/metrics", httpapi.Needs(grant.Read), cfg.Metrics.ServeHTTP)
	}
	v1("GET", "/storage", readsSome, a.storage)
	v1("POST", "/topic/create", manages, a.createTopic)
	v1("POST", "/topic/delete", manages, a.deleteTopic)
	led("POST", "/topic/empty", manages, a.emptyTopic)
	led("POST", "/topic/pause", manages, a.pauseTopic(true))
	led("POST", "/topic/unpause", manages, a.pauseTopic(false))
	led("GET", "/topic/config", reads, a.getTopicConfig)
	ledWith("POST", "/topic/config", manages, a.setTopicConfig)
	led("POST", "/channel/create", manages, a.createChannel)
	led("POST", "/channel/delete", manages, a.deleteChannel)
	led("POST", "/channel/empty", manages, a.onChannel((*api).emptyChannel))
	led("POST", "/channel/rewind", manages, a.rewindChannel)
	led("POST", "/channel/skip", manages, a.skipChannel)
	led("POST", "/channel/pause", manages, a.onChannel((*api).pauseChannel))
	led("POST", "/channel/unpause", manages, a.onChannel((*api).unpauseChannel))
	led("GET", "/channel/config", reads, a.getChannelConfig)
	ledWith("POST", "/channel/config", manages, a.setChannelConfig)
	looks("/channel/deferred", reads, look{show: a.deferred})
	led("POST", "/channel/redrive", manages, a.redrive)
	looks("/topic/messages", consumes, look{show: a.topicMessages, withheld: a.hidden})
	looks("/channel/messages", consumes, look{show: a.channelMessages, withheld: a.hidden})
	looks("/message", consumes, look{show: a.message, withheld: a.hidden, ofLeader: asksHistory})
	led("POST", "/message/finish", manages, a.finishMessage)
	led("POST", "/message/cancel", manages, a.onDeferred((*topic.Topic).Cancel))
	led("POST", "/message/release", manages, a.onDeferred((*topic.Topic).Release))
	v1("GET", "/cluster", httpapi.Needs(grant.Read), a.cluster)
	v1("POST", "/cluster/add", admin.Local(), a.onCluster(clusterAdd, "node"))
	v1("POST", "/cluster/replace", admin.Local(), a.onCluster(clusterReplace, "old", "new"))
	v1("POST", "/cluster/drain", admin.Local(), a.onCluster(clusterDrain, "node"))
	v1("POST", "/cluster/remove", admin.Local(), a.onCluster(clusterRemove, "node"))
	v1("POST", "/cluster/transfer", admin.Local(), a.onCluster(clusterTransfer, "node"))
	v1("GET", "/config", admin, a.getSettings)
	v1("PUT", "/config", admin.Local(), a.reload)
	v1("GET", "/config/:opt", admin, a.getConfig)
	v1("PUT", "/config/:opt", admin.Local(), a.putConfig)
	plain("PUT", "/debug/setblockrate", admin.Local(), setBlockRate)
	plain("POST", "/debug/freememory", admin.Local(), freeMemory)
	httpapi.AddPprof(r)
	return r
}

// refuse returns an answer other than 200.
func refuse(code int, text string) error { return &httpapi.Error{Code: code, Text: text} }

// fail returns err for a request that was right: 503 EXITING when the broker is stopping, 503 DRAINING when it drains, 429 where a bound is reached, else err itself, which is logged
// and answered with 500.
func (a *api) fail(req *http.Request, err error) error {
	if errors.Is(err, topic.ErrExiting) {
		return refuse(http.StatusServiceUnavailable, "EXITING")
	}
	if errors.Is(err, topic.ErrDraining) {
		return refuse(http.StatusServiceUnavailable, "DRAINING: "+err.Error())
	}
	if topic.Limited(err) {
		return limited(err)
	}
	if err := ofReplicated(err); err != nil {
		return err
	}
	if req.Context().Err() == nil { // else nobody waits for an answer
		a.cfg.Log.Error("http: request failed", "uri", httpapi.LoggedURI(req.URL), "error", err)
	}
	return err
}

// ofReplicated returns the answer for what a replicated topic refuses, nil when an error is another one.
func ofReplicated(err error) error {
	switch {
	case errors.Is(err, topic.ErrElsewhere), errors.Is(err, topic.ErrNotLeader):
		return notLeader(err)
	case errors.Is(err, topic.ErrReplicated):
		return refuse(http.StatusBadRequest, "REPLICATED: "+err.Error())
	}
	return nil
}

func (a *api) ping(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	if q, err := httpapi.ParseQuery(req); err == nil && q.Bool("cluster", false) {
		if a.cfg.Cluster == nil {
			return nil, noCluster()
		}
		if err := a.cfg.Cluster.Well(req.Context()); err != nil {
			return nil, refuse(http.StatusInternalServerError, healthText(err))
		}
	}
	if err := a.cfg.Broker.Health(); err != nil {
		return nil, refuse(http.StatusInternalServerError, healthText(err))
	}
	return healthText(nil), nil
}

// ready tells a load balancer, or whoever else gives the broker work, whether to.
func (a *api) ready(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	if err := a.cfg.Broker.Ready(); err != nil {
		return nil, refuse(http.StatusServiceUnavailable, "NOT READY - "+err.Error())
	}
	return "OK", nil
}

// healthText returns a state of health as /ping and /stats show it.
func healthText(err error) string {
	if err != nil {
		return "NOK - " + err.Error()
	}
	return "OK"
}

func (a *api) info(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	return a.cfg.Broker.Info(), nil
}

func (a *api) storage(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	return a.cfg.Broker.Storage(), nil
}

// setBlockRate sets how many nanoseconds of blocking make one sample of the block profile.
func setBlockRate(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	q, err := httpapi.ParseQuery(req)
	if err != nil {
		return nil, err
	}
	rate, err := strconv.Atoi(q.Get("rate"))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "invalid block rate : "+err.Error())
	}
	runtime.SetBlockProfileRate(rate)
	return nil, nil
}

// freeMemory gives memory that is not in use back to the system.
func freeMemory(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	debug.FreeOSMemory()
	return nil, nil
}
