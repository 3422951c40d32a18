package httpd

import (
	"errors"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// api answers requests.
type api struct {
	cfg     Config
	scratch sync.Pool // of *scratch
}

// newHandler returns the whole API.
func newHandler(cfg Config) *httpapi.Router {
	a := &api{cfg: cfg, scratch: sync.Pool{New: func() any { return newScratch() }}}
	r := httpapi.NewRouter(cfg.Log)
	v1 := func(method, path string, h httpapi.HandlerFunc) {
		r.Handle(method, path, httpapi.Logged(cfg.Log, httpapi.V1(h)))
	}
	plain := func(method, path string, h httpapi.HandlerFunc) {
		r.Handle(method, path, httpapi.Logged(cfg.Log, httpapi.Plain(h)))
	}
	r.Handle("POST", "/pub", httpapi.V1(a.pub))
	r.Handle("POST", "/mpub", httpapi.V1(a.mpub))
	plain("GET", "/ping", a.ping)
	v1("GET", "/info", a.info)
	v1("GET", "/stats", a.stats)
	v1("GET", "/storage", a.storage)
	v1("POST", "/topic/create", a.createTopic)
	v1("POST", "/topic/delete", a.deleteTopic)
	v1("POST", "/topic/empty", a.emptyTopic)
	v1("POST", "/topic/pause", a.pauseTopic(true))
	v1("POST", "/topic/unpause", a.pauseTopic(false))
	v1("GET", "/topic/config", a.getTopicConfig)
	v1("POST", "/topic/config", a.setTopicConfig)
	v1("POST", "/channel/create", a.createChannel)
	v1("POST", "/channel/delete", a.onChannel((*api).deleteChannel))
	v1("POST", "/channel/empty", a.onChannel((*api).emptyChannel))
	v1("POST", "/channel/pause", a.onChannel((*api).pauseChannel))
	v1("POST", "/channel/unpause", a.onChannel((*api).unpauseChannel))
	v1("GET", "/config/:opt", a.getConfig)
	v1("PUT", "/config/:opt", a.putConfig)
	plain("PUT", "/debug/setblockrate", setBlockRate)
	plain("POST", "/debug/freememory", freeMemory)
	httpapi.AddPprof(r)
	return r
}

// refuse returns an answer other than 200.
func refuse(code int, text string) error { return &httpapi.Error{Code: code, Text: text} }

// fail returns err for a request that was right: 503 EXITING when the broker is stopping, else err itself, which is logged
// and answered with 500.
func (a *api) fail(req *http.Request, err error) error {
	if errors.Is(err, topic.ErrExiting) {
		return refuse(http.StatusServiceUnavailable, "EXITING")
	}
	a.cfg.Log.Error("http: request failed", "uri", req.URL.RequestURI(), "error", err)
	return err
}

func (a *api) ping(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	if err := a.cfg.Broker.Health(); err != nil {
		return nil, refuse(http.StatusInternalServerError, healthText(err))
	}
	return healthText(nil), nil
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
