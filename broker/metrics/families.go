package metrics

import "brokerd/protocol/exposition"

func counter(name, help string, labels ...string) *exposition.Family {
	return &exposition.Family{Name: "brokerd_" + name, Kind: exposition.Counter, Help: help, Labels: labels}
}

func gauge(name, help string, labels ...string) *exposition.Family {
	return &exposition.Family{Name: "brokerd_" + name, Kind: exposition.Gauge, Help: help, Labels: labels}
}

func histogram(name, help string, labels ...string) *exposition.Family {
	return &exposition.Family{Name: "brokerd_" + name, Kind: exposition.Histogram, Help: help, Labels: labels}
}

// nodeFamilies are of the whole broker.
type nodeFamilies struct {
	info, start, healthy, ready, draining, topics, channels, topicsInSum    *exposition.Family
	aside                                                                   *exposition.Family
	connections, accepted, turnedAway, refused, lookup                      *exposition.Family
	diskTotal, diskFree, diskMinFree, diskOut, certificate, certificateFrom *exposition.Family
	reloads, reloadGood, spansSent, spansDropped                            *exposition.Family
	browses, browsed                                                        *exposition.Family
}

func newNodeFamilies() nodeFamilies {
	return nodeFamilies{
		info:            gauge("build_info", "always 1; its labels are the version of NSQ that is spoken, and the build's release, commit and Go", "version", "release", "commit", "go"),
		start:           gauge("start_time_seconds", "when the broker began to start, seconds since 1970"),
		healthy:         gauge("healthy", "1 while messages can be kept, as /ping says; 0 when the disk has failed, does not answer or is nearly full"),
		ready:           gauge("ready", "1 while the broker may get work, as /ready says"),
		draining:        gauge("draining", "1 while the broker drains or has drained"),
		topics:          gauge("topics", "topics that there are"),
		channels:        gauge("channels", "channels that there are"),
		topicsInSum:     gauge("topics_in_sum", "topics beyond --metrics-max-topics, which are told as one sum with empty labels"),
		connections:     gauge("connections", "client connections over TCP that are open"),
		accepted:        counter("connections_total", "client connections over TCP that were accepted"),
		turnedAway:      counter("connections_refused_total", "connections that were refused because of --max-connections, --max-connections-per-address or the file descriptors that there are, by kind: tcp or http", "kind"),
		refused:         counter("refused_commands_total", "commands of clients that were answered with an error, by its code", "code"),
		lookup:          gauge("lookup_connected", "1 while the broker is registered with the lookup", "lookup"),
		aside:           gauge("set_aside_files", "files that lie in the data folder's set-aside, since they are damaged or nobody knows them, as the start found them and since"),
		diskTotal:       gauge("disk_bytes", "size of the data folder's file system"),
		diskFree:        gauge("disk_free_bytes", "what of the data folder's file system is free for brokerd"),
		diskMinFree:     gauge("disk_min_free_bytes", "with less free than this publishes are refused; 0 for never"),
		diskOut:         gauge("disk_unanswered_seconds", "for how long the oldest call to the disk is out, 0 when none is, by what waits for it: publishes, or others, as checkpoints and reading back; from 5 s on the disk does not answer", "waiting"),
		certificateFrom: gauge("certificate_start_timestamp_seconds", "when the certificate of the listeners begins to be valid, seconds since 1970: later than now, peers refuse it; absent without TLS"),
		certificate:     gauge("certificate_expiry_timestamp_seconds", "when the certificate of the listeners ends, seconds since 1970; absent without TLS"),
		reloads:         counter("config_reloads_total", "times that settings were read anew, by result: success or failure", "result"),
		reloadGood:      gauge("config_last_reload_successful", "1 when the last reload was taken, or there was none; 0 when it changed nothing for an error"),
		spansSent:       counter("trace_spans_total", "spans that the collector has taken"),
		browses:         counter("browse_requests_total", "requests that looked at messages without taking them"),
		browsed:         counter("browse_bytes_total", "bytes of messages that requests looked through without taking them"),
		spansDropped: counter("trace_spans_dropped_total",
			"spans that were given up as the collector was slow, gone, or refused them"),
	}
}

func (f *nodeFamilies) all() []*exposition.Family {
	return []*exposition.Family{f.info, f.start, f.healthy, f.ready, f.draining, f.topics, f.channels, f.topicsInSum, f.connections, f.accepted, f.turnedAway,
		f.refused, f.lookup, f.aside, f.diskTotal, f.diskFree, f.diskMinFree, f.diskOut, f.certificate, f.certificateFrom, f.reloads, f.reloadGood, f.spansSent, f.spansDropped, f.browses, f.browsed}
}

// logFamilies are of the node's log; absent when none is kept.
type logFamilies struct {
	records, lost, bytes, writes, syncs, syncTime, fileBytes, unsynced *exposition.Family
	checkpoints, checkpointAt, checkpointTime                          *exposition.Family
	recoveryTime, recovered, damaged, blocks                           *exposition.Family
	compactions, compacted, compactionTime                             *exposition.Family
}

func newLogFamilies() logFamilies {
	return logFamilies{
		records:        counter("log_records_total", "records that were appended to the log"),
		lost:           counter("log_lost_records_total", "records that the disk did not take; their publishes were refused"),
		bytes:          counter("log_written_bytes_total", "bytes that were written to the log"),
		writes:         counter("log_writes_total", "write calls to the log, each for all that waited"),
		syncs:          counter("log_syncs_total", "syncs of the log, each for all that waited"),
		syncTime:       histogram("log_sync_seconds", "time that a sync of the log took"),
		fileBytes:      gauge("log_size_bytes", "size of the log's files"),
		unsynced:       gauge("log_unsynced_bytes", "bytes of the log that are written and not synced yet"),
		checkpoints:    counter("checkpoints_total", "checkpoints, by result: success or failure", "result"),
		checkpointAt:   gauge("checkpoint_timestamp_seconds", "when the last good checkpoint of this life was written; absent before"),
		checkpointTime: counter("checkpoint_seconds_total", "time that checkpoints took"),
		compactions:    counter("compactions_total", "rounds in which segments were written together anew, by result: success or failure", "result"),
		compacted:      counter("compaction_read_bytes_total", "bytes of segments that were read to write them together anew"),
		compactionTime: counter("compaction_seconds_total", "time that rounds worked in which segments were written together anew, without their rests"),
		recoveryTime:   gauge("recovery_seconds", "time that the start took to read checkpoint and log"),
		recovered:      gauge("recovered_records", "records of the log that the start read"),
		damaged:        gauge("log_damaged_places", "places of the log that the start could not read and left out"),
		blocks:         gauge("segment_blocks", "blocks of messages on disk outside of the log"),
	}
}

func (f *logFamilies) all() []*exposition.Family {
	return []*exposition.Family{f.records, f.lost, f.bytes, f.writes, f.syncs, f.syncTime, f.fileBytes, f.unsynced, f.checkpoints, f.checkpointAt,
		f.checkpointTime, f.compactions, f.compacted, f.compactionTime, f.recoveryTime, f.recovered, f.damaged, f.blocks}
}

// topicFamilies are of each topic.
type topicFamilies struct {
	messages, bytes, refused, waiting, onDisk, oldest, paused *exposition.Family
	duplicates, keys, forgotten, acksLost                     *exposition.Family
	kept, keptAge, droppedEarly, discarded                    *exposition.Family
}

func newTopicFamilies() topicFamilies {
	return topicFamilies{
		messages: counter("topic_messages_total", "messages that were published", "topic"),
		bytes:    counter("topic_message_bytes_total", "bytes of the bodies of messages that were published", "topic"),
		refused:  counter("topic_refused_messages_total", "messages that were refused because of max_depth or max_bytes", "topic"),
		duplicates: counter("topic_duplicate_messages_total",
			"messages that were not stored, as their deduplication keys had been accepted before", "topic"),
		keys:      gauge("topic_dedup_keys", "deduplication keys that the topic remembers", "topic"),
		forgotten: counter("topic_dedup_forgotten_total", "deduplication keys that were forgotten before their time, as dedup_max or --dedup-memory was reached", "topic"),
		acksLost:  counter("topic_acks_lost_messages_total", "messages that were answered at once, as acks 0 asks for, and that the disk then refused", "topic"),
		kept:      gauge("topic_kept_bytes", "bytes of message frames that the topic keeps as retain_time and retain_bytes say, finished or not, at the last look", "topic"),
		keptAge:   gauge("topic_kept_seconds", "how long ago the first message came that the topic keeps, 0 when none are kept; in the sum of topics, the longest", "topic"),
		droppedEarly: counter("topic_kept_dropped_early_messages_total",
			"messages that were dropped before their time, as the disk was nearly full", "topic"),
		discarded: counter("topic_discarded_messages_total",
			"messages that left the topic itself, where they waited for channels, without having come to one, by why; a reason is there once one has", "topic", "reason"),
		waiting: gauge("topic_waiting_messages", "messages that wait in the topic itself, as it has no channel or is paused", "topic"),
		onDisk:  gauge("topic_waiting_disk_messages", "messages that wait in the topic itself and are on disk only", "topic"),
		oldest: gauge("topic_oldest_waiting_seconds", "how long ago the message was published that waits in the topic itself for longest, 0 when none does; "+
			"absent while only disk knows; in the sum of topics, the longest", "topic"),
		paused: gauge("topic_paused", "1 while the topic is paused; in the sum of topics, how many are", "topic"),
	}
}

func (f *topicFamilies) all() []*exposition.Family {
	return []*exposition.Family{f.messages, f.bytes, f.refused, f.duplicates, f.keys, f.forgotten, f.acksLost, f.kept, f.keptAge, f.droppedEarly, f.discarded, f.waiting, f.onDisk, f.oldest,
		f.paused}
}

// channelFamilies are of each channel.
type channelFamilies struct {
	accepted, delivered, finished, discarded, requeued, timedOut, returned     *exposition.Family
	waiting, onDisk, inFlight, deferred, consumers, paused, oldest, unbalanced *exposition.Family
	aside, blocked                                                             *exposition.Family
	byDue, buried, replaying                                                   *exposition.Family
	delivery, finish                                                           *exposition.Family
}

func newChannelFamilies() channelFamilies {
	count := func(name, help string) *exposition.Family { return counter("channel_"+name, help, "topic", "channel") }
	now := func(name, help string) *exposition.Family { return gauge("channel_"+name, help, "topic", "channel") }
	return channelFamilies{
		accepted:  count("messages_total", "messages that came from the topic"),
		delivered: count("delivered_messages_total", "deliveries, each attempt counted"),
		finished:  count("finished_messages_total", "messages that a consumer has finished"),
		discarded: counter("channel_discarded_messages_total", "messages that left without being finished, by why; a reason is there once one has",
			"topic", "channel", "reason"),
		unbalanced: now("unbalanced", "1 when what came, what went and what is there do not add up: a fault of the broker's; in the sum of topics, how many do not"),
		requeued:   count("requeued_messages_total", "messages that a consumer has given back"),
		timedOut:   count("timed_out_messages_total", "messages that came back as their time in flight was over"),
		returned:   count("returned_messages_total", "messages that came back as their consumer left"),
		waiting:    now("waiting_messages", "messages that wait to be delivered, neither in flight nor deferred"),
		onDisk:     now("waiting_disk_messages", "messages that wait to be delivered and are in an overflow on disk"),
		inFlight:   now("in_flight_messages", "messages that are with consumers"),
		deferred:   now("deferred_messages", "messages that are not to be delivered yet"),
		byDue: gauge("channel_deferred_due_messages", "messages that are not to be delivered yet, by when they are due: within a minute, within an hour and not within a minute, within a day, "+
			"later; absent when none is deferred", "topic", "channel", "due"),
		buried:    now("waiting_for_target_messages", "deferred messages that are to be dead letters, and whose topic does not take them now"),
		aside:     now("aside_messages", "waiting messages that are out of the backlog until the turn of their key, on ordered topics"),
		blocked:   now("blocked_keys", "keys of which one message has been out for over ten seconds while others wait for their turn, on ordered topics"),
		replaying: now("replaying_messages", "messages that wait and are not behind the end of the last rewind; absent when none are"),
		consumers: now("consumers", "consumers that are subscribed"),
		paused:    now("paused", "1 while the channel is paused; in the sum of topics, how many are"),
		oldest: now("oldest_waiting_seconds", "how long ago the message was published that waits for longest, 0 when none does; "+
			"absent while only disk knows; in the sum of topics, the longest"),
		delivery: histogram("channel_delivery_seconds", "from publish to the first delivery, deferral included", "topic", "channel"),
		finish:   histogram("channel_finish_seconds", "from publish to FIN; of messages that are finished together one of eight is measured, and counts for all", "topic", "channel"),
	}
}

func (f *channelFamilies) all() []*exposition.Family {
	return []*exposition.Family{f.accepted, f.delivered, f.finished, f.discarded, f.requeued, f.timedOut, f.returned, f.waiting, f.onDisk,
		f.inFlight, f.deferred, f.byDue, f.buried, f.replaying, f.aside, f.blocked, f.consumers, f.paused, f.oldest, f.unbalanced, f.delivery, f.finish}
}

// families are all of a broker.
type families struct {
	node    nodeFamilies
	log     logFamilies
	cluster clusterFamilies
	topic   topicFamilies
	channel channelFamilies
}

func newFamilies() families {
	return families{newNodeFamilies(), newLogFamilies(), newClusterFamilies(), newTopicFamilies(), newChannelFamilies()}
}

func (f *families) all() (list []*exposition.Family) {
	list = append(list, f.node.all()...)
	list = append(list, f.log.all()...)
	list = append(list, f.cluster.all()...)
	list = append(list, f.topic.all()...)
	return append(list, f.channel.all()...)
}

// Families returns what a broker exports, for its documentation.
func Families() []*exposition.Family {
	f := newFamilies()
	return f.all()
}
