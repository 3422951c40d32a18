package httpd

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"brokerd/lookup/registry"
	"brokerd/protocol"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/release"

	"github.com/julienschmidt/httprouter"
)

// Config is what the API is made of.
type Config struct {
	Registry *registry.Registry
	Version  string       // that /info tells
	Metrics  http.Handler // answers /metrics
	Settings Settings     // nil: there is no /config
	Log      *slog.Logger
	Door     httpapi.Door // who is let in
}

// Settings answers /config.
type Settings interface {
	// Exposed says what is open to other machines, in sentences.
	Exposed() []string
	// List returns every setting.
	List() httpapi.Settings
	// Reload reads the settings anew. When it fails nothing has changed, and the error says why.
	Reload() error
}

// asks are the scopes of which one is needed to be told who has a topic: who may use it may find its brokers.
const asks = grant.Read | grant.Consume | grant.Publish

// New returns the API.
func New(cfg Config) *httpapi.Router {
	a := &api{reg: cfg.Registry, version: cfg.Version, settings: cfg.Settings}
	log := cfg.Log
	router := httpapi.NewRouter(log, cfg.Door)
	manages := httpapi.NeedsOnTopic(grant.Manage)
	for _, route := range []struct {
		method, path string
		rule         httpapi.Rule
		handle       httprouter.Handle
	}{
		{http.MethodGet, "/ping", httpapi.Public(), httpapi.Plain(a.ping)},
		{http.MethodGet, "/ready", httpapi.Public(), httpapi.Plain(a.ping)},
		{http.MethodGet, "/info", httpapi.NeedsSome(asks), httpapi.V1(a.info)},
		{http.MethodGet, "/topics", httpapi.NeedsSome(asks), httpapi.Lists(a.topics)},
		{http.MethodGet, "/channels", httpapi.NeedsOnTopic(asks), httpapi.V1(a.channels)},
		{http.MethodGet, "/lookup", httpapi.NeedsOnTopic(asks), httpapi.V1(a.lookup)},
		{http.MethodGet, "/nodes", httpapi.NeedsSome(asks), httpapi.Lists(a.nodes)},
		{http.MethodGet, "/debug", httpapi.Needs(grant.Read), httpapi.Lists(a.debug)},
		{http.MethodPost, "/topic/create", manages, httpapi.V1(a.createTopic)},
		{http.MethodPost, "/topic/delete", manages, httpapi.V1(a.deleteTopic)},
		{http.MethodPost, "/topic/tombstone", manages, httpapi.V1(a.tombstone)},
		{http.MethodPost, "/channel/create", manages, httpapi.V1(a.createChannel)},
		{http.MethodPost, "/channel/delete", manages, httpapi.V1(a.deleteChannel)},
	} {
		router.Handle(route.method, route.path, route.rule, httpapi.Logged(log, route.handle))
	}
	router.HandlerFunc(http.MethodGet, "/metrics", httpapi.NeedsSome(grant.Read), cfg.Metrics.ServeHTTP)
	if a.settings != nil {
		admin := httpapi.Needs(grant.Admin)
		router.Handle(http.MethodGet, "/config", admin, httpapi.Logged(log, httpapi.V1(a.getSettings)))
		router.Handle(http.MethodGet, "/config/:opt", admin, httpapi.Logged(log, httpapi.V1(a.getSetting)))
		router.Handle(http.MethodPut, "/config", admin.Local(), httpapi.Logged(log, httpapi.V1(a.reload)))
	}
	httpapi.AddPprof(router)
	return router
}

type api struct {
	reg     *registry.Registry
	version string

	settings Settings
}

func (a *api) ping(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	return "OK", nil
}

func (a *api) getSettings(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	return a.settings.List(), nil
}

// getSetting answers the one key that the list of settings has not: nsqlookupd has no /config at all.
func (a *api) getSetting(_ http.ResponseWriter, _ *http.Request, ps httprouter.Params) (any, error) {
	key := ps.ByName("opt")
	if key == "exposed" {
		return a.settings.Exposed(), nil
	}
	for _, s := range a.settings.List().Settings {
		if s.Key == key {
			value, err := json.Marshal(s.Value) // a text as well, as brokers answer it
			return json.RawMessage(value), err
		}
	}
	return nil, badRequest("INVALID_OPTION")
}

// reload has the settings read anew, and answers with all of them.
func (a *api) reload(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	if err := httpapi.Reload(req, a.settings.Reload); err != nil {
		return nil, err
	}
	return a.settings.List(), nil
}

func (a *api) info(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	build := release.This()
	return httpapi.LookupInfo{Version: a.version, Release: &build}, nil
}

func (a *api) topics(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	topics := a.reg.Topics(time.Now())
	if httpapi.CallerOf(req) != nil {
		topics = slices.DeleteFunc(topics, func(t string) bool { return !httpapi.MaySee(req, asks, t) })
	}
	return httpapi.Topics{Topics: topics}, nil
}

func (a *api) channels(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	topic, _, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	return httpapi.Channels{Channels: a.reg.Channels(topic, time.Now())}, nil
}

func (a *api) lookup(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	topic, _, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	channels, peers, ok := a.reg.Lookup(topic, time.Now())
	if !ok {
		return nil, &httpapi.Error{Code: http.StatusNotFound, Text: "TOPIC_NOT_FOUND"}
	}
	answer := httpapi.Lookup{Channels: channels, Producers: make([]httpapi.Producer, len(peers))}
	for i, p := range peers {
		answer.Producers[i] = producer(p)
	}
	return answer, nil
}

func (a *api) nodes(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	nodes := a.reg.Nodes(time.Now())
	if httpapi.CallerOf(req) != nil {
		for i := range nodes {
			nodes[i].Topics = slices.DeleteFunc(nodes[i].Topics, func(t registry.NodeTopic) bool { return !httpapi.MaySee(req, asks, t.Name) })
		}
	}
	answer := httpapi.Nodes{Producers: make([]httpapi.Node, len(nodes))}
	for i, n := range nodes {
		to := httpapi.Node{
			Producer: producer(n.Peer), Tombstones: make([]bool, len(n.Topics)), Topics: make([]string, len(n.Topics)),
		}
		for j, t := range n.Topics {
			to.Topics[j], to.Tombstones[j] = t.Name, t.Tombstoned
		}
		answer.Producers[i] = to
	}
	return answer, nil
}

func (a *api) createTopic(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	topic, _, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	if !protocol.ValidName(topic) {
		return nil, badRequest("INVALID_ARG_TOPIC")
	}
	return nil, full(a.reg.CreateTopic(topic, time.Now()))
}

func (a *api) deleteTopic(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	topic, _, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	a.reg.DeleteTopic(topic, time.Now())
	return nil, nil
}

func (a *api) tombstone(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	topic, query, err := topicArg(req)
	if err != nil {
		return nil, err
	}
	node, ok := query.Lookup("node")
	if !ok {
		return nil, badRequest("MISSING_ARG_NODE")
	}
	a.reg.Tombstone(topic, node, time.Now())
	return nil, nil
}

func (a *api) createChannel(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	topic, channel, err := channelArgs(req)
	if err != nil {
		return nil, err
	}
	return nil, full(a.reg.CreateChannel(topic, channel, time.Now()))
}

func (a *api) deleteChannel(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	topic, channel, err := channelArgs(req)
	if err != nil {
		return nil, err
	}
	if !a.reg.DeleteChannel(topic, channel, time.Now()) {
		return nil, &httpapi.Error{Code: http.StatusNotFound, Text: "CHANNEL_NOT_FOUND"}
	}
	return nil, nil
}

// topicArg returns the argument topic, which need not be a valid name.
func topicArg(req *http.Request) (string, httpapi.Query, error) {
	query, err := httpapi.ParseQuery(req)
	if err != nil {
		return "", query, err
	}
	topic, ok := query.Lookup("topic")
	if !ok {
		return "", query, badRequest("MISSING_ARG_TOPIC")
	}
	return topic, query, nil
}

// channelArgs returns the arguments topic and channel, valid names both.
func channelArgs(req *http.Request) (topic, channel string, err error) {
	query, err := httpapi.ParseQuery(req)
	if err != nil {
		return "", "", err
	}
	return query.TopicAndChannel()
}

// full is the answer when there is no room for what is asked for.
func full(err error) error {
	if err == nil {
		return nil
	}
	return &httpapi.Error{Code: http.StatusServiceUnavailable, Text: "FULL: " + err.Error()}
}

func badRequest(text string) error { return &httpapi.Error{Code: http.StatusBadRequest, Text: text} }

func producer(p *registry.Peer) httpapi.Producer {
	info := p.Info()
	return httpapi.Producer{
		RemoteAddress: p.RemoteAddress(), Hostname: info.Hostname, BroadcastAddress: info.BroadcastAddress,
		TCPPort: info.TCPPort, HTTPPort: info.HTTPPort, Version: info.Version,
		TopologyZone: info.TopologyZone, TopologyRegion: info.TopologyRegion,
	}
}
