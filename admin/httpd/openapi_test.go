package httpd

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"brokerd/admin/compat"
	"brokerd/protocol/apitest"
	"brokerd/protocol/httpapi"
)

// topicAnswer and channelAnswer are the answers of topic and channel.
type topicAnswer struct {
	*compat.Topic
	Message string `json:"message"` // which brokers did not answer; empty when all did
}

type channelAnswer struct {
	*compat.Channel
	Message string `json:"message"` // which brokers did not answer; empty when all did
}

// TestThePageOfHTTPIsWhatIsRouted holds docs/openapi and docs/reference to the routes.
func TestThePageOfHTTPIsWhatIsRouted(t *testing.T) {
	topic := apitest.Param{Name: "topic", Required: true, Does: "the topic's name"}
	channel := apitest.Param{Name: "channel", Required: true, Does: "the channel's name"}
	node := apitest.Param{Name: "node", Required: true, Does: "the broker's broadcast address and HTTP port, as `host:4151`"}
	option := apitest.Param{Name: "opt", Required: true, Does: "its key in the configuration file"}
	const reads, without = "401 SIGN_IN_REQUIRED, 403 FORBIDDEN, 502 UPSTREAM_ERROR", "401 SIGN_IN_REQUIRED, 403 FORBIDDEN, 403 CROSS_ORIGIN, 403 CSRF_TOKEN, 502 UPSTREAM_ERROR"
	const acts = without + ", 413 BODY_TOO_BIG, 503 BUSY"
	of := []apitest.Param{{Name: "of", Does: "`total`, `topic`, `channel` or `node`"}, {Name: "topic", Does: "the topic's name"}, {Name: "channel", Does: "the channel's name"},
		{Name: "node", Does: "the broker"}, {Name: "window", Does: "how far back: `10m`, `1h` or `8h`; `10m` without it"}}
	listing := map[string]any{}
	list := []apitest.Operation{
		{Route: "GET /api/topics", Does: "Lists all topics", Params: []apitest.Param{{Name: "inactive", Does: "`true` for those that no broker has, with their channels"}}, Answer: listing, Errors: reads},
		{Route: "GET /api/topics/:topic", Does: "Tells a topic's figures, in all and by broker", Params: []apitest.Param{topic}, Answer: topicAnswer{}, Errors: reads + ", 404 TOPIC_NOT_FOUND"},
		{Route: "GET /api/topics/:topic/:channel", Does: "Tells a channel's figures, in all and by broker, with its consumers", Params: []apitest.Param{topic, channel}, Answer: channelAnswer{},
			Errors: reads + ", 404 TOPIC_NOT_FOUND, 404 CHANNEL_NOT_FOUND"},
		{Route: "GET /api/nodes", Does: "Lists all brokers", Answer: listing, Errors: reads},
		{Route: "GET /api/nodes/:node", Does: "Tells a broker's figures", Params: []apitest.Param{node}, Answer: listing, Errors: reads + ", 404 NODE_NOT_FOUND"},
		{Route: "GET /api/counter", Does: "Tells how many messages each channel has had on each broker", Answer: listing, Errors: reads},
		{Route: "GET /api/graphite", Does: "Asks Graphite for a rate", Params: []apitest.Param{{Name: "metric", Required: true, Does: "`rate`"}, {Name: "target", Required: true, Does: "what Graphite is asked for"}}, Answer: listing, Errors: reads},
		{Route: "POST /api/topics", Does: "Makes a topic, and a channel if one is named, on all brokers and known to all lookups", Body: "`{\"topic\":\"orders\",\"channel\":\"billing\"}`", Answer: done{}, Errors: acts},
		{Route: "GET /api/options/:topic", Does: "Tells the options of a topic, each with where its value comes from, and whether its brokers differ; admind's own", Params: []apitest.Param{topic},
			Answer: optionsAnswer{}, Errors: reads + ", 400 INVALID_TOPIC, 404 TOPIC_NOT_FOUND"},
		{Route: "GET /api/options/:topic/:channel", Does: "Tells the same of a channel; admind's own", Params: []apitest.Param{topic, channel},
			Answer: optionsAnswer{}, Errors: reads + ", 400 INVALID_TOPIC, 400 INVALID_CHANNEL, 404 CHANNEL_NOT_FOUND"},
		{Route: "POST /api/topics/:topic", Does: "Pauses, unpauses or empties a topic everywhere", Params: []apitest.Param{topic}, Body: "`{\"action\":\"pause\"}`, `unpause` or `empty`; `{\"action\":\"set_options\",\"options\":{\"max_depth\":1000}}`, admind's own", Answer: done{}, Errors: acts + ", 400 INVALID_OPTIONS, 400 INVALID_CONFIG, 404 TOPIC_NOT_FOUND"},
		{Route: "POST /api/topics/:topic/:channel", Does: "Pauses, unpauses or empties a channel everywhere, or has its dead letters sent back, or a deferred message dropped or delivered now, or one message finished by hand, or has it read again or pass over", Params: []apitest.Param{topic, channel}, Body: "`{\"action\":\"empty\"}`, `pause` or `unpause`; admind's own: `redrive`, `stop_redrive`, `{\"action\":\"cancel_message\",\"node\":\"host:4151\",\"position\":7,\"id\":\"0f3c8a1d2b4e5f60\"}`, where the message must have the id if there is one, `release_message`, `finish_message`, `{\"action\":\"rewind\",\"to\":\"-2h\"}`, `skip`, `{\"action\":\"set_options\",\"options\":{\"max_attempts\":10}}`", Answer: done{},
			Errors: acts + ", 400 INVALID_OPTIONS, 400 INVALID_CONFIG, 400 INVALID_POSITION, 400 INVALID_ID, 404 CHANNEL_NOT_FOUND, 400 INVALID_PLACE, 404 NODE_NOT_FOUND, 404 MESSAGE_NOT_DEFERRED, 404 MESSAGE_NOT_FOUND"},
		{Route: "DELETE /api/topics/:topic", Does: "Deletes a topic everywhere, with its messages", Params: []apitest.Param{topic}, Answer: done{}, Errors: without + ", 404 TOPIC_NOT_FOUND"},
		{Route: "DELETE /api/topics/:topic/:channel", Does: "Deletes a channel everywhere, with its messages", Params: []apitest.Param{topic, channel}, Answer: done{}, Errors: without + ", 404 CHANNEL_NOT_FOUND"},
		{Route: "DELETE /api/nodes/:node", Does: "Hides a broker from those who ask for a topic, and deletes the topic there", Params: []apitest.Param{node}, Body: "`{\"topic\":\"orders\"}`", Answer: done{}, Errors: without + ", 503 BUSY" + ", 404 NODE_NOT_FOUND, 409 TOPIC_IS_REPLICATED"},
		{Route: "POST /api/nodes/:node", Does: "Dismisses a broker that is gone for good, so that it is shown no more; admind's own", Params: []apitest.Param{node}, Body: "`{\"action\":\"dismiss\"}`", Answer: done{},
			Errors: acts + ", 400 INVALID_ACTION, 404 NODE_NOT_FOUND, 409 NODE_ANSWERS, 409 NODE_IS_LISTED"},
		{Route: "GET /api/nodes/:node/settings", Does: "Tells an operator the settings of a broker as they are in force, `null` of one that does not tell them; admind's own", Params: []apitest.Param{node},
			Answer: settingsOfNode{}, Errors: reads + ", 404 NODE_NOT_FOUND"},
		{Route: "POST /api/publish", Does: "Publishes a message for trying; admind's own", Body: "`{\"topic\":\"orders\",\"body\":\"...\"}`", Answer: done{}, Errors: acts},
		{Route: "GET /api/view/:view", Does: "Tells what a page shows; admind's own, and not kept the same between versions", Params: []apitest.Param{{Name: "view", Required: true, Does: "the page"}}, Answer: apitest.Anything{}, Errors: reads},
		{Route: "GET /api/events", Does: "Streams what a page shows as server-sent events; admind's own", Params: []apitest.Param{{Name: "view", Required: true, Does: "the page"}}, Answer: "events", Errors: reads},
		{Route: "GET /api/history", Does: "Tells figures of up to the last 8 hours; admind's own", Params: of, Answer: apitest.Anything{}, Errors: reads},
		{Route: "GET /api/history/sparks", Does: "Tells the small curves of lists; admind's own", Answer: apitest.Anything{}, Errors: reads},
		{Route: "GET /api/letters", Does: "Shows the first dead letters of a topic on each broker, without their bodies, and takes none; admind's own", Params: []apitest.Param{{Name: "topic", Required: true, Does: "the dead letter topic"}},
			Answer: apitest.Anything{}, Errors: reads + ", 400 INVALID_TOPIC, 404 TOPIC_NOT_FOUND"},
		{Route: "GET /api/messages/:topic/:channel", Does: "Shows the first messages that a channel has deferred on each broker, by when they are due, without their bodies, and takes none; admind's own",
			Params: []apitest.Param{topic, channel, {Name: "state", Required: true, Does: "`deferred`"}}, Answer: messages{}, Errors: reads + ", 400 INVALID_TOPIC, 400 INVALID_CHANNEL, 400 INVALID_STATE, 404 TOPIC_NOT_FOUND"},
		{Route: "GET /api/browse/:topic", Does: "Shows messages of a topic, or as a channel has them, on each broker, with the first 256 bytes of their bodies, and takes none; needs the right to consume, and is audited; admind's own",
			Params: []apitest.Param{topic, {Name: "state", Required: true, Does: "`kept`, or of a channel `waiting`, `in_flight` or `deferred`"}, {Name: "channel", Does: "the channel's name"},
				{Name: "from", Does: "where to begin: a place, as of a broker's /topic/messages"}, {Name: "contains", Does: "only messages whose body has this text, in the first 64 MiB of each broker"},
				{Name: "limit", Does: "how many of each broker, up to 200; 50 without it"}, {Name: "cursor", Does: "`NODE=CURSOR`, as `next` of the answer before says: only these are asked; may be given several times"}},
			Answer: browsed{}, Errors: reads + ", 400 INVALID_TOPIC, 400 INVALID_CHANNEL, 400 INVALID_STATE, 400 INVALID_LIMIT, 400 INVALID_CURSOR, 403 CROSS_ORIGIN, 404 TOPIC_NOT_FOUND"},
		{Route: "GET /api/message/:topic", Does: "Shows one message, and what each channel has of it, on each broker that has it; needs the right to consume, and is audited; admind's own",
			Params: []apitest.Param{topic, {Name: "id", Does: "the message's id"}, {Name: "node", Does: "only on this broker"}, {Name: "position", Does: "in place of the id, with `node`: its position there"},
				{Name: "body", Does: "`full` for all of its body; 16 KiB without it"}, {Name: "history", Does: "`true` adds what the brokers' logs have still of what happened to it"}},
			Answer: traced{}, Errors: reads + ", 400 INVALID_TOPIC, 400 INVALID_ID, 400 INVALID_POSITION, 403 CROSS_ORIGIN, 404 TOPIC_NOT_FOUND, 404 NODE_NOT_FOUND"},
		{Route: "GET /api/preview/:topic/:channel", Does: "Tells what a rewind or a skip of a channel would do, and does nothing; admind's own", Params: []apitest.Param{topic, channel,
			{Name: "action", Required: true, Does: "`rewind` or `skip`"}, {Name: "to", Required: true, Does: "a place, as of a broker's /channel/rewind"}, {Name: "all", Does: "`true`: a skip takes what is in flight or deferred, too"}},
			Answer: preview{}, Errors: reads + ", 400 INVALID_TOPIC, 400 INVALID_CHANNEL, 400 INVALID_ACTION, 400 INVALID_PLACE, 404 TOPIC_NOT_FOUND"},
		{Route: "GET /api/search", Does: "Finds topics, channels, nodes and consumers by a part of their name; admind's own", Params: []apitest.Param{{Name: "q", Required: true, Does: "the part"}}, Answer: apitest.Anything{}, Errors: reads},
		{Route: "GET /api/session", Does: "Tells who one is, and what one may do; admind's own", Answer: apitest.Anything{}},
		{Route: "POST /api/session", Does: "Signs in; admind's own", Body: "`{\"user\":\"alice\",\"password\":\"...\"}`", Answer: apitest.Anything{}, Errors: "401 BAD_CREDENTIALS, 429 TOO_MANY_ATTEMPTS"},
		{Route: "DELETE /api/session", Does: "Signs out; admind's own", Answer: apitest.Anything{}},
		{Route: "GET /config", Does: "Lists every setting with its value and its source; admind's own", Answer: httpapi.Settings{}},
		{Route: "PUT /config", Does: "Reads file and environment anew, all or nothing, as SIGHUP does; the body is empty; admind's own",
			Answer: httpapi.Settings{}, Errors: "400 INVALID_BODY, 400 INVALID_SETTINGS, 403 FORBIDDEN, 409 REFUSED"},
		{Route: "GET /config/:opt", Does: "Tells the value of one setting", Params: []apitest.Param{option}, Answer: apitest.Anything{}, Errors: "400 INVALID_OPTION, 403 FORBIDDEN"},
		{Route: "PUT /config/:opt", Does: "Changes `log_level` or `nsqlookupd_http_addresses` at run time", Params: []apitest.Param{option}, Body: "the new value", Answer: apitest.Anything{}, Errors: "400 INVALID_OPTION, 400 INVALID_VALUE, 403 FORBIDDEN"},
		{Route: "GET /render", Does: "Fetches a plot from Graphite, with `--proxy-graphite`", Answer: "a picture"},
		{Route: "GET /metrics", Does: "Tells the metrics of the admin in Prometheus' text form; admind's own", Answer: "metrics as a text"},
		{Route: "GET /ready", Does: "Tells whether there is a state of the cluster to show; admind's own", Answer: "`OK`", Errors: "503 NOT READY"},
		{Route: "GET /ping", Does: "Tells that the admin is there", Answer: "`OK`"},
	}
	a := &api{Config: Config{Log: slog.New(slog.DiscardHandler), Graphite: Graphite{Proxied: true, URL: &url.URL{Scheme: "http", Host: "127.0.0.1"}}, Metrics: http.NotFoundHandler()}}
	r := httpapi.NewRouter(a.Log, a.Door)
	a.pages(r)
	a.reads(r)
	a.deeds(r)
	apitest.API{
		Daemon: "admind", Address: "http://127.0.0.1:4171", Operations: list,
		About: "All brokers and lookups of a cluster at once. Paths, words and shapes are nsqadmin's; what nsqadmin does not have is marked by its own text.",
		Unlisted: func(path string) bool { // pages and their files, for browsers
			return !strings.HasPrefix(path, "/api/") && !strings.HasPrefix(path, "/config") && path != "/ping" && path != "/ready" && path != "/metrics" && path != "/render"
		},
	}.Check(t, r.Routes())
}
