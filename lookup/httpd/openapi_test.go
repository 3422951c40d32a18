package httpd

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"brokerd/lookup/registry"
	"brokerd/protocol/apitest"
	"brokerd/protocol/httpapi"
)

// TestThePageOfHTTPIsWhatIsRouted holds docs/openapi and docs/reference to the routes.
func TestThePageOfHTTPIsWhatIsRouted(t *testing.T) {
	topicArg := apitest.Param{Name: "topic", Required: true, Does: "the topic's name"}
	onChannel := []apitest.Param{topicArg, {Name: "channel", Required: true, Does: "the channel's name"}}
	const badChannel = "400 MISSING_ARG_TOPIC, 400 INVALID_ARG_TOPIC, 400 MISSING_ARG_CHANNEL, 400 INVALID_ARG_CHANNEL"
	apitest.API{
		Daemon: "lookupd", Address: "http://127.0.0.1:4161",
		About: "Which brokers have which topics. Paths, words and shapes are nsqlookupd's; what nsqlookupd does not have is marked by its own text.",
		Operations: append([]apitest.Operation{
			{Route: "GET /lookup", Does: "Tells the brokers that have a topic, and its channels", Params: []apitest.Param{topicArg}, Answer: httpapi.Lookup{},
				Errors: "400 MISSING_ARG_TOPIC, 404 TOPIC_NOT_FOUND"},
			{Route: "GET /topics", Does: "Lists all topics", Answer: httpapi.Topics{}},
			{Route: "GET /channels", Does: "Lists the channels of a topic", Params: []apitest.Param{topicArg}, Answer: httpapi.Channels{}, Errors: "400 MISSING_ARG_TOPIC"},
			{Route: "GET /nodes", Does: "Lists all brokers with their topics", Answer: httpapi.Nodes{}},
			{Route: "POST /topic/create", Does: "Makes a topic known that no broker needs to have", Params: []apitest.Param{topicArg}, Errors: "400 MISSING_ARG_TOPIC, 400 INVALID_ARG_TOPIC"},
			{Route: "POST /topic/delete", Does: "Forgets a topic and its channels, until a broker registers it again", Params: []apitest.Param{topicArg}, Errors: "400 MISSING_ARG_TOPIC"},
			{Route: "POST /topic/tombstone", Does: "Hides a broker from those who ask for the topic, for `--tombstone-lifetime`",
				Params: []apitest.Param{topicArg, {Name: "node", Required: true, Does: "the broker's broadcast address and HTTP port, as `host:4151`"}}, Errors: "400 MISSING_ARG_TOPIC, 400 MISSING_ARG_NODE"},
			{Route: "POST /channel/create", Does: "Makes a channel known, and its topic", Params: onChannel, Errors: badChannel},
			{Route: "POST /channel/delete", Does: "Forgets a channel, until a broker registers it again", Params: onChannel, Errors: badChannel + ", 404 CHANNEL_NOT_FOUND"},
			{Route: "GET /ready", Does: "Tells that the lookup is there; lookupd's own", Answer: "`OK`"},
			{Route: "GET /ping", Does: "Tells that the lookup is there", Answer: "`OK`"},
			{Route: "GET /info", Does: "Tells the version", Answer: httpapi.LookupInfo{}},
			{Route: "GET /debug", Does: "Tells all registrations", Answer: map[string]any{}},
			{Route: "GET /config", Does: "Lists every setting with its value and its source; lookupd's own", Answer: httpapi.Settings{}},
			{Route: "GET /config/:opt", Does: "Tells one setting by its key, or, as `exposed`, what is open to other machines, in sentences; lookupd's own",
				Params: []apitest.Param{{Name: "opt", Required: true, Does: "the setting's key, or `exposed`"}}, Answer: apitest.Anything{}, Errors: "400 INVALID_OPTION"},
			{Route: "PUT /config", Does: "Reads file and environment anew, all or nothing, as SIGHUP does; the body is empty; lookupd's own",
				Answer: httpapi.Settings{}, Errors: "400 INVALID_BODY, 400 INVALID_SETTINGS, 403 FORBIDDEN, 409 REFUSED"},
			{Route: "GET /metrics", Does: "Tells the metrics of the lookup in Prometheus' text form; lookupd's own", Answer: "metrics as a text"},
		}, apitest.Profiles()...),
	}.Check(t, New(Config{
		Registry: registry.New(registry.Config{}, time.Now()), Metrics: http.NotFoundHandler(), Settings: noSettings{}, Log: slog.New(slog.DiscardHandler),
	}).Routes())
}

// noSettings is a Settings that has none.
type noSettings struct{}

func (noSettings) Exposed() []string      { return nil }
func (noSettings) List() httpapi.Settings { return httpapi.Settings{} }
func (noSettings) Reload() error          { return nil }
