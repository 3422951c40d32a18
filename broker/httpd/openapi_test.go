package httpd

import (
	"log/slog"
	"net/http"
	"slices"
	"testing"

	"brokerd/protocol/apitest"
	"brokerd/protocol/httpapi"
)

// TestThePageOfHTTPIsWhatIsRouted holds docs/openapi and docs/reference to the routes.
func TestThePageOfHTTPIsWhatIsRouted(t *testing.T) {
	topicArg := apitest.Param{Name: "topic", Required: true, Does: "the topic's name"}
	onTopic := []apitest.Param{topicArg}
	onChannel := []apitest.Param{topicArg, {Name: "channel", Required: true, Does: "the channel's name"}}
	level := apitest.Param{Name: "durability", Does: "answer only once it is safe so far: `memory`, `disk` or `fsync`; less than the topic's level changes nothing"}
	deferral := []apitest.Param{{Name: "defer", Does: "milliseconds until it is delivered, up to --max-defer"},
		{Name: "at", Does: "when it is delivered, up to --max-defer from now: milliseconds since 1970, or a time by RFC 3339; at once when that has passed; not with `defer`; brokerd's own"}}
	timeToLive := apitest.Param{Name: "ttl", Does: "how long it is of use, as `30s`, `12h` or `7d`: discarded then unless it is in flight; brokerd's own"}
	answer := apitest.Param{Name: "answer", Does: "`id`: the answer is which ids and positions the messages got, as JSON; brokerd's own"}
	repeats := []apitest.Param{{Name: "dedup", Does: "its deduplication key, 256 bytes at most, of several messages with /0, /1 and so on behind it: what a topic with dedup_window has accepted already is " +
		"answered alike and not stored, and the header Brokerd-Duplicate says of how many messages; brokerd's own"},
		{Name: "acks", Does: "when it is answered: `0` at once, `1` or `all` once it is as safe as the topic's level, of a replicated topic `1` once its leader has it so and `all` once a majority has; the topic's option acks without it; brokerd's own"},
		{Name: "key", Does: "its key, 256 bytes at most: a topic with `ordered` has its messages come one by one, in order; brokerd's own"}}
	words := []apitest.Param{level, timeToLive, repeats[0], repeats[1], repeats[2], answer}
	const badWord = ", 400 INVALID_ARG_TTL, 400 INVALID_ARG_DEDUP, 400 INVALID_ARG_ACKS, 400 INVALID_ARG_KEY, 400 KEY_REQUIRED"
	message := []apitest.Param{topicArg, {Name: "pos", Does: "the message's position in its topic"}, {Name: "id", Does: "or its id, which may have to be looked for; beside `pos` the id that the message there must have"},
		{Name: "channel", Does: "only on this channel; without it wherever the message is deferred"}}
	const notDeferred = "400 MISSING_ARG_TOPIC, 400 MISSING_ARG_ID, 400 INVALID_ARG_ID, 400 INVALID_ARG_POS, 400 NEEDS_LOG, 404 TOPIC_NOT_FOUND, 404 CHANNEL_NOT_FOUND, " +
		"404 MESSAGE_NOT_DEFERRED, 503 NOT_WRITTEN"
	look := []apitest.Param{{Name: "from", Does: "where to begin: `beginning`, which it is without it, `end`, a time such as `2026-01-31T10:00:00Z`, `-2h` or milliseconds since 1970 (what was published then or later), " +
		"`pos:N` or `id:HEX`"},
		{Name: "cursor", Does: "`next` of the answer before, in place of `from`"}, {Name: "limit", Does: "how many at most, up to 1000; 100 without it"},
		{Name: "max_bytes", Does: "bytes of bodies at most, up to 4194304; 1048576 without it"}, {Name: "body", Does: "how much of each body: `full`, `none` or `head:BYTES`; `head:1024` without it"},
		{Name: "contains", Does: "only messages whose body has this text"}, {Name: "scan", Does: "bytes that are looked through at most, up to 268435456, which it is without it, or 5 s; `next` says where that ended"},
		{Name: "format", Does: "`json`, which it is without it, or `raw`: message frames as consumers get them, `next` and `end` in the headers Brokerd-Next, Brokerd-End and Brokerd-Anew"}}
	consistent := apitest.Param{Name: "consistent", Does: "`true`, of a replicated topic: who leads it answers, once it has made sure that it does, so that all is shown whose publish was answered before (with `acks=all`); " +
		"without it this broker's own copy does, if it has one"}
	look = append(look, consistent)
	const badLook = "400 INVALID_ARG_CONSISTENT, 400 MISSING_ARG_TOPIC, 400 INVALID_PLACE, 400 INVALID_ARG_CURSOR, 400 INVALID_ARG_FROM, 400 INVALID_ARG_LIMIT, 400 INVALID_ARG_MAX_BYTES, 400 INVALID_ARG_BODY, " +
		"400 INVALID_ARG_SCAN, 400 INVALID_ARG_FORMAT, 400 NEEDS_LOG, 403 MESSAGES_OFF, 404 TOPIC_NOT_FOUND, 404 MESSAGE_NOT_FOUND, 429 BUSY, 503 NOT_LEADER"
	const placeText = "`beginning`, of what is kept; `end`; a time such as `2026-01-31T10:00:00Z`, `-2h` or milliseconds since 1970 (the first message that came then or later); `pos:N` or `id:HEX`"
	moves := append(slices.Clone(onChannel), apitest.Param{Name: "to", Required: true, Does: "the place: " + placeText}, apitest.Param{Name: "dry_run", Does: "`true` says what it would do, and does nothing"})
	const badMove = "400 MISSING_ARG_TOPIC, 400 MISSING_ARG_CHANNEL, 400 INVALID_PLACE, 400 INVALID_ARG_DRY_RUN, 400 NEEDS_LOG, 404 TOPIC_NOT_FOUND, 404 CHANNEL_NOT_FOUND, 404 MESSAGE_NOT_FOUND, 503 EXITING"
	const nodeText = "a broker of the cluster: its address there, its name, or its folder's id or the beginning of that"
	onNode := []apitest.Param{{Name: "node", Required: true, Does: nodeText}}
	const notChanged = "403 LOCAL_ONLY, 404 NO_CLUSTER, 404 NODE_NOT_FOUND, 409 REFUSED, 503 NOT_DONE, 503 UNKNOWN"
	const badNode = "400 INVALID_ARG_NODE, " + notChanged
	const badTopic = "400 MISSING_ARG_TOPIC, 400 INVALID_TOPIC"
	const badChannel = "400 MISSING_ARG_TOPIC, 400 INVALID_ARG_TOPIC, 400 MISSING_ARG_CHANNEL, 400 INVALID_ARG_CHANNEL, 404 TOPIC_NOT_FOUND"
	const noChannel = badChannel + ", 404 CHANNEL_NOT_FOUND"
	apitest.API{
		Daemon: "brokerd", Address: "http://127.0.0.1:4151",
		About: "Publishing, figures and administration of one broker. Paths, words and shapes are nsqd's; what nsqd does not have is marked by its own text.",
		Operations: append([]apitest.Operation{
			{Route: "POST /pub", Does: "Publishes the body as one message; the topic is made when there is none", Body: "the message, as it is",
				Params: slices.Concat([]apitest.Param{topicArg}, deferral, words), Answer: "`OK`",
				Errors: badTopic + ", 400 MSG_EMPTY, 400 INVALID_DEFER, 400 INVALID_AT, 400 INVALID_ANSWER, 400 INVALID_DURABILITY" + badWord + ", 413 MSG_TOO_BIG, 429 LIMIT_REACHED, 503 EXITING"},
			{Route: "POST /mpub", Does: "Publishes many messages, all or none", Body: "one message a line, empty lines left out; with `binary`, the body of the wire's MPUB",
				Params: slices.Concat([]apitest.Param{topicArg, {Name: "binary", Does: "`true` for the form of MPUB: count, then length and bytes of each"}}, deferral, words), Answer: "`OK`",
				Errors: badTopic + ", 400 INVALID_DEFER, 400 INVALID_AT, 400 INVALID_ANSWER, 400 INVALID_DURABILITY" + badWord + ", 413 BODY_TOO_BIG, 413 MSG_TOO_BIG, 429 LIMIT_REACHED, 503 EXITING"},
			{Route: "GET /ready", Does: "Tells whether the broker may get work: not while it drains, cannot keep messages, or has replicas that have not caught up since its start or are behind; brokerd's own", Answer: "`OK`", Errors: "503 NOT READY"},
			{Route: "GET /ping", Does: "Tells whether publishes are taken: not while the disk fails, is nearly full, or has not answered for 5 s", Params: []apitest.Param{{Name: "cluster", Does: "`true` tells also whether the broker does its part in its cluster; brokerd's own"}}, Answer: "`OK`; with status 500 `NOK - ` and what is wrong", Errors: "500 NOK"},
			{Route: "GET /info", Does: "Tells what clients and tools need to know of the broker", Answer: httpapi.Info{}},
			{Route: "GET /stats", Does: "Tells the figures of topics, channels and connections, as a text or as JSON", Answer: httpapi.Stats{}, Params: []apitest.Param{
				{Name: "format", Does: "`json` for JSON; a text for people without it"}, {Name: "topic", Does: "only this topic"}, {Name: "channel", Does: "only channels of this name"},
				{Name: "include_clients", Does: "`false` leaves connections out"}, {Name: "include_mem", Does: "`false` leaves the heap out"}}},
			{Route: "GET /storage", Does: "Tells about the disk that queues are on; brokerd's own", Answer: httpapi.Storage{}},
			{Route: "POST /topic/create", Does: "Makes a topic; one that is there stays", Params: append(slices.Clone(onTopic), apitest.Param{Name: "replicas", Does: "`1`, which it is without it, or `3` on a broker of a cluster (a preview); brokerd's own"},
				apitest.Param{Name: "serve", Does: "with replicas: which brokers lookups name: `all` that have a replica, which it is without it, or `leader`; brokerd's own"}),
				Errors: badTopic + ", 400 INVALID_ARG_REPLICAS, 400 INVALID_ARG_SERVE, 409 REFUSED, 429 LIMIT_REACHED, 503 NOT_DONE, 503 NOT_LEADER, 503 UNKNOWN"},
			{Route: "POST /topic/delete", Does: "Deletes a topic with its channels and messages", Params: onTopic, Errors: "400 MISSING_ARG_TOPIC, 404 TOPIC_NOT_FOUND"},
			{Route: "POST /topic/empty", Does: "Discards what the topic keeps for channels to come", Params: onTopic, Errors: badTopic + ", 404 TOPIC_NOT_FOUND"},
			{Route: "POST /topic/pause", Does: "Has the topic keep messages instead of giving them to its channels", Params: onTopic, Errors: "400 MISSING_ARG_TOPIC, 404 TOPIC_NOT_FOUND"},
			{Route: "POST /topic/unpause", Does: "Ends the pause", Params: onTopic, Errors: "400 MISSING_ARG_TOPIC, 404 TOPIC_NOT_FOUND"},
			{Route: "GET /topic/config", Does: "Tells the topic's options, each with where its value comes from; brokerd's own", Params: onTopic, Answer: httpapi.Options{}, Errors: "400 MISSING_ARG_TOPIC, 404 TOPIC_NOT_FOUND"},
			{Route: "POST /topic/config", Does: "Sets those options that the body names, all or none; brokerd's own", Params: onTopic, Body: "a JSON object of options, as `{\"durability\":\"fsync\"}`; `null` puts the default back",
				Answer: httpapi.Options{}, Errors: "400 INVALID_CONFIG, 400 MISSING_ARG_TOPIC, 404 TOPIC_NOT_FOUND, 413 BODY_TOO_BIG, 503 EXITING"},
			{Route: "POST /channel/create", Does: "Makes a channel of a topic that is there; one that is there stays", Params: append(slices.Clone(onChannel),
				apitest.Param{Name: "start", Does: "where it begins, beside what comes and what waits in the topic itself: " + placeText + "; the answer is then what it gets; brokerd's own"}),
				Answer: httpapi.Moved{}, Errors: badChannel + ", 400 INVALID_PLACE, 400 NEEDS_LOG, 400 NOTHING_KEPT, 400 TOO_MANY, 404 MESSAGE_NOT_FOUND, 429 LIMIT_REACHED, 503 EXITING"},
			{Route: "POST /channel/delete", Does: "Deletes a channel with its messages, and disconnects its consumers", Params: onChannel, Errors: noChannel},
			{Route: "POST /channel/empty", Does: "Discards what waits in a channel", Params: onChannel, Errors: noChannel},
			{Route: "POST /channel/rewind", Does: "Has all messages from a place on wait once more, of those that the topic keeps; what is in flight from there on is taken back, what is deferred stays so; brokerd's own",
				Params: moves, Answer: httpapi.Moved{}, Errors: badMove + ", 400 NOTHING_KEPT, 400 TOO_MANY"},
			{Route: "POST /channel/skip", Does: "Discards what waits before a place; what is in flight or deferred stays; brokerd's own",
				Params: append(slices.Clone(moves), apitest.Param{Name: "all", Does: "`true` takes that too"}), Answer: httpapi.Moved{}, Errors: badMove + ", 400 INVALID_ARG_ALL"},
			{Route: "POST /channel/pause", Does: "Has a channel deliver nothing", Params: onChannel, Errors: noChannel},
			{Route: "POST /channel/unpause", Does: "Ends the pause", Params: onChannel, Errors: noChannel},
			{Route: "GET /channel/config", Does: "Tells the channel's options, each with where its value comes from; brokerd's own", Params: onChannel, Answer: httpapi.Options{}, Errors: noChannel},
			{Route: "POST /channel/config", Does: "Sets those options that the body names, all or none; brokerd's own", Params: onChannel, Body: "a JSON object of options, as `{\"max_attempts\":10}`; `null` puts the default back",
				Answer: httpapi.Options{}, Errors: "400 INVALID_CONFIG, " + noChannel + ", 413 BODY_TOO_BIG, 503 EXITING"},
			{Route: "GET /channel/deferred", Does: "Lists the messages that are deferred, by when they are due; brokerd's own", Params: []apitest.Param{topicArg,
				{Name: "channel", Does: "the channel's name; without it the topic's own backlog, which has them while there is no channel or the topic is paused"},
				{Name: "from", Does: "those that are due from then on: milliseconds since 1970, a time by RFC 3339, or `next` of the answer before"}, {Name: "limit", Does: "how many at most, up to 1000; 100 without it"}, consistent},
				Answer: httpapi.DeferredMessages{}, Errors: "400 INVALID_ARG_CONSISTENT, 400 MISSING_ARG_TOPIC, 400 INVALID_ARG_LIMIT, 400 INVALID_ARG_FROM, 404 TOPIC_NOT_FOUND, 404 CHANNEL_NOT_FOUND, 429 BUSY, 503 NOT_LEADER"},
			{Route: "POST /channel/redrive", Does: "Sends the dead letters of a channel back to it, each once, attempts from 1, in the background; what consumers of the dead letter topic have stays; brokerd's own",
				Params: append(slices.Clone(onChannel), apitest.Param{Name: "limit", Does: "how many messages at most; all without it"},
					apitest.Param{Name: "rate", Does: "messages a second at most"}, apitest.Param{Name: "from", Does: "the dead letter topic, when it is another than the channel's options say now"},
					apitest.Param{Name: "stop", Does: "`true` ends one that goes on"}),
				Answer: httpapi.Redrive{}, Errors: "400 MISSING_ARG_TOPIC, 400 MISSING_ARG_CHANNEL, 400 INVALID_ARG_LIMIT, 400 INVALID_ARG_RATE, 404 TOPIC_NOT_FOUND, 404 CHANNEL_NOT_FOUND, " +
					"404 NO_DEAD_LETTERS, 409 REDRIVING, 409 NOT_REDRIVING, 503 EXITING"},
			{Route: "GET /topic/messages", Does: "Shows the messages of a topic that some channel, or the topic itself, still has, of a dead letter with what is known of it, and takes none; brokerd's own",
				Params: slices.Concat(onTopic, look), Answer: httpapi.Messages{}, Errors: badLook},
			{Route: "GET /channel/messages", Does: "Shows messages as a channel has them, and takes none; brokerd's own", Params: slices.Concat([]apitest.Param{topicArg,
				{Name: "channel", Does: "the channel's name; without it the topic's own backlog, which has them while there is no channel or the topic is paused"},
				{Name: "state", Does: "`waiting`, to be delivered, which it is without it; `in_flight`, with client and deadline; or `deferred`, by when they are due, where `from` is a time of that"}}, look),
				Answer: httpapi.Messages{}, Errors: badLook + ", 400 INVALID_ARG_STATE, 404 CHANNEL_NOT_FOUND"},
			{Route: "GET /message", Does: "Shows one message that is kept, or that some channel or the topic itself still has, and what each channel has of it, and takes nothing; brokerd's own",
				Params: []apitest.Param{topicArg, message[1], message[2], look[4], {Name: "scan", Does: "bytes of each dead letter topic that are looked through at most for what became of it, up to 268435456, which it is without it, or 2 s"},
					{Name: "history", Does: "`true` adds what the log has still of what happened to it, also when the message is not there any more; one such request at a time"}, consistent},
				Answer: httpapi.MessageAt{}, Errors: "400 INVALID_ARG_CONSISTENT, 400 MISSING_ARG_TOPIC, 400 MISSING_ARG_ID, 400 INVALID_ARG_ID, 400 INVALID_ARG_POS, 400 INVALID_ARG_BODY, 400 INVALID_ARG_SCAN, 400 INVALID_ARG_HISTORY, 400 NEEDS_LOG, " +
					"403 MESSAGES_OFF, 404 TOPIC_NOT_FOUND, 404 MESSAGE_NOT_FOUND, 429 BUSY, 503 NOT_LEADER"},
			{Route: "POST /message/finish", Does: "Takes one message off a channel for good, whether it waits, is in flight or deferred; it counts as discarded, reason by_hand; brokerd's own",
				Params: slices.Concat(onChannel, message[1:3]), Answer: httpapi.FinishedByHand{}, Errors: noChannel + ", 400 MISSING_ARG_ID, 400 INVALID_ARG_ID, 400 INVALID_ARG_POS, 400 NEEDS_LOG, " +
					"404 MESSAGE_NOT_FOUND, 503 NOT_WRITTEN"},
			{Route: "POST /message/cancel", Does: "Drops a message that is deferred; it counts as discarded, reason cancelled; needs a topic that is kept in the log; brokerd's own", Params: message,
				Answer: httpapi.Rescheduled{}, Errors: notDeferred},
			{Route: "POST /message/release", Does: "Has a message that is deferred come at once; needs a topic that is kept in the log; brokerd's own", Params: message,
				Answer: httpapi.Rescheduled{}, Errors: notDeferred},
			{Route: "GET /cluster", Does: "Tells what this broker knows of its cluster, a preview; brokerd's own", Answer: httpapi.Cluster{}, Errors: "404 NO_CLUSTER"},
			{Route: "POST /cluster/add", Does: "Lets a broker into the cluster that waits as a candidate; brokerd's own", Params: onNode, Answer: httpapi.Cluster{}, Errors: badNode},
			{Route: "POST /cluster/replace", Does: "Lets a candidate in, in the place of a broker that will not come back; brokerd's own", Params: []apitest.Param{
				{Name: "old", Required: true, Does: nodeText}, {Name: "new", Required: true, Does: nodeText}}, Answer: httpapi.Cluster{},
				Errors: "400 INVALID_ARG_OLD, 400 INVALID_ARG_NEW, " + notChanged},
			{Route: "POST /cluster/drain", Does: "Has a broker of the cluster give its replicas to others; brokerd's own", Params: append(slices.Clone(onNode), apitest.Param{Name: "undo", Does: "`true`: it takes replicas again"}),
				Answer: httpapi.Cluster{}, Errors: badNode + ", 400 INVALID_ARG_UNDO"},
			{Route: "POST /cluster/remove", Does: "Removes a candidate, or a broker that has been drained, from the cluster; brokerd's own", Params: onNode, Answer: httpapi.Cluster{}, Errors: badNode},
			{Route: "POST /cluster/transfer", Does: "Has another broker lead the cluster's map; brokerd's own", Params: onNode, Answer: httpapi.Cluster{}, Errors: badNode},
			{Route: "GET /config", Does: "Lists every setting with its value and its source; brokerd's own", Answer: httpapi.Settings{}},
			{Route: "PUT /config", Does: "Reads file and environment anew, all or nothing, as SIGHUP does; the body is empty; brokerd's own",
				Answer: httpapi.Settings{}, Errors: "400 INVALID_BODY, 400 INVALID_SETTINGS, 403 FORBIDDEN, 409 REFUSED"},
			{Route: "GET /config/:opt", Does: "Tells the value of one setting", Params: []apitest.Param{{Name: "opt", Required: true, Does: "its key in the configuration file"}},
				Answer: apitest.Anything{}, Errors: "400 INVALID_OPTION"},
			{Route: "PUT /config/:opt", Does: "Changes one of the settings that can change at run time", Body: "the new value",
				Params: []apitest.Param{{Name: "opt", Required: true, Does: "its key in the configuration file"}}, Answer: apitest.Anything{}, Errors: "400 INVALID_OPTION, 400 INVALID_VALUE"},
			{Route: "GET /metrics", Does: "Tells the metrics of the broker in Prometheus' text form; brokerd's own", Answer: "metrics as a text"},
			{Route: "PUT /debug/setblockrate", Does: "Sets after how many nanoseconds of waiting the block profile takes a sample", Params: []apitest.Param{{Name: "rate", Required: true, Does: "nanoseconds; 0 for never"}}, Errors: "400 invalid"},
			{Route: "POST /debug/freememory", Does: "Gives memory that is not in use back to the system"},
		}, apitest.Profiles()...),
	}.Check(t, newHandler(Config{Log: slog.New(slog.DiscardHandler), Metrics: http.NotFoundHandler()}).Routes())
}
