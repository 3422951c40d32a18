package standard

import (
	"fmt"
	"strings"
	"time"

	"brokerd/apps/internal/bench/load"
)

// group says in which table a scenario stands.
type group string

const (
	speed  group = "speed"  // messages per second, CPU, latency
	cost   group = "cost"   // what things cost while nothing happens
	growth group = "growth" // cost per message as something grows, of ours alone
)

// scenario is one load on fresh brokers.
type scenario struct {
	name   string
	what   string
	group  group
	levels []string // ours runs once at each
	flags  []string // of both brokers
	peer   bool     // the other broker takes part
	once   bool     // in the first round only: it takes long, and hardly differs
	spec   load.Spec
}

// Levels of durability of ours.
const (
	memory = "memory"
	disk   = "disk"
	fsync  = "fsync"
)

const (
	inMemory   = "--mem-queue-size=2000000" // everything has room
	overflowed = "--mem-queue-size=0"       // nothing has
	syncEach   = "--sync-every=1"
)

// base is what loads have in common.
var base = load.Spec{Limit: 2 * time.Minute, Size: 200, Publishers: 2, Depth: 1, Topics: 1, Channels: 1, Consumers: 2,
	RDY: 2500, Buffering: 250 * time.Millisecond}

func spec(kind load.Kind, change func(s *load.Spec)) load.Spec {
	s := base
	s.Kind = kind
	change(&s)
	return s
}

// scenarios are in the order of the page.
var scenarios = append(append(speedScenarios(), costScenarios()...), growthScenarios()...)

func speedScenarios() []scenario {
	list := []scenario{
		{name: "pub", what: "batches of 200, 2 connections, no channel", levels: []string{memory, disk}, flags: []string{inMemory},
			spec: spec(load.Publish, func(s *load.Spec) { s.Messages = 2_000_000 })},
		{name: "sub", what: "a backlog of 1 M in memory, 2 consumers", levels: []string{memory, disk}, flags: []string{inMemory},
			spec: spec(load.Subscribe, func(s *load.Spec) { s.Messages = 1_000_000; s.AfterFill = breathe })},
		{name: "pub1", what: "one connection, one message at a time", levels: []string{memory, disk}, flags: []string{inMemory},
			spec: spec(load.Publish, func(s *load.Spec) { s.Messages, s.Batch, s.Publishers = 150_000, 1, 1 })},
		{name: "pub1x32", what: "32 connections, one message at a time", levels: []string{memory, disk}, flags: []string{inMemory},
			spec: spec(load.Publish, func(s *load.Spec) { s.Messages, s.Batch, s.Publishers = 400_000, 1, 32 })},
		{name: "e2e", what: "batches of 50, 2 publishers, 2 consumers", levels: []string{memory, disk},
			spec: spec(load.EndToEnd, func(s *load.Spec) { s.Duration = 5 * time.Second })},
		{name: "e2e-rate", what: "5,000 a second, single, stock settings", levels: []string{memory, disk},
			spec: spec(load.EndToEnd, func(s *load.Spec) { s.Duration, s.Rate, s.Consumers = 8*time.Second, 5000, 1 })},
		{name: "fan8", what: "8 channels, 1 publisher, batches of 50", levels: []string{memory},
			spec: spec(load.EndToEnd, func(s *load.Spec) {
				s.Duration, s.Publishers, s.Channels, s.Consumers = 5*time.Second, 1, 8, 1
			})},
		{name: "disk-pub", what: "as pub, nothing fits in memory", levels: []string{disk}, flags: []string{overflowed},
			spec: spec(load.Publish, func(s *load.Spec) { s.Messages = 1_000_000 })},
		{name: "disk-sub", what: "as sub, a backlog of 500 k on disk", levels: []string{disk}, flags: []string{overflowed},
			spec: spec(load.Subscribe, func(s *load.Spec) { s.Messages = 500_000; s.AfterFill = breathe })},
		{name: "fan4-backlog", what: "300 k to 4 idle channels, then drained", levels: []string{disk},
			spec: spec(load.Subscribe, func(s *load.Spec) { s.Messages, s.Channels, s.Consumers = 300_000, 4, 1 })},
		{name: "sync1", what: "32 connections, one at a time, synced", levels: []string{fsync}, flags: []string{overflowed, syncEach},
			spec: spec(load.Publish, func(s *load.Spec) { s.Messages, s.Batch, s.Publishers = 20_000, 1, 32 })},
		{name: "late", what: "deferred by 1 s, 5,000 a second", levels: []string{disk},
			spec: spec(load.Deferred, func(s *load.Spec) {
				s.Duration, s.Delay, s.Rate, s.Consumers = 5*time.Second, time.Second, 5000, 1
			})},
		{name: "topics1000", what: "1,000 topics in turn, batches of 20", levels: []string{disk},
			spec: spec(load.Publish, func(s *load.Spec) { s.Messages, s.Batch, s.Topics = 1_000_000, 20, 1000 })},
	}
	for _, n := range []int{1, 4, 16, 64} {
		list = append(list, scenario{name: fmt.Sprintf("crowd%d", n), what: fmt.Sprintf("1 channel with %d consumers", n),
			levels: []string{memory}, spec: spec(load.EndToEnd, func(s *load.Spec) { s.Duration, s.Consumers = 3*time.Second, n })})
	}
	for _, size := range []int{16, 1 << 10, 64 << 10, 1 << 20} {
		list = append(list, scenario{name: "size" + sizeName(size), what: "as e2e, messages of " + sizeName(size),
			levels: []string{disk}, spec: spec(load.EndToEnd, func(s *load.Spec) { s.Duration, s.Size = 3*time.Second, size })})
	}
	list = append(inGroup(speed, true, list), inGroup(speed, false, orderedScenarios())...)
	return append(list, inGroup(speed, false, keptScenarios())...)
}

// orderedScenarios are of messages with keys: batches of 50 to 64 consumers, without order and with it.
func orderedScenarios() (list []scenario) {
	keyed := func(keys uint32, messages int64) load.Spec {
		return spec(load.EndToEnd, func(s *load.Spec) {
			s.Duration, s.Messages, s.Consumers, s.RDY, s.Keys = 5*time.Second, messages, 64, 200, keys
		})
	}
	const key = "key_from=bytes:16-20"
	return []scenario{
		{name: "unordered-10k", what: "64 consumers, 10,000 keys that are kept", levels: []string{disk}, flags: []string{"--topic-options=* " + key},
			spec: keyed(10_000, 0)},
		{name: "ordered-10k", what: "64 consumers, 10,000 keys, each in order", levels: []string{disk},
			flags: []string{"--topic-options=* ordered=true " + key}, spec: keyed(10_000, 0)},
		{name: "ordered-1", what: "64 consumers, one key: one message at a time", levels: []string{disk},
			flags: []string{"--topic-options=* ordered=true " + key}, spec: keyed(1, 100_000)},
	}
}

// keptScenarios are of what the log makes possible: messages that are kept, read again, and known by a key.
func keptScenarios() []scenario {
	const (
		kept  = "--topic-options=* retain_bytes=100GiB"
		dedup = "--topic-options=* dedup_window=10m dedup_from=bytes:8-16"
	)
	return []scenario{
		{name: "retain-pub", what: "as pub, all of it is kept", levels: []string{disk}, flags: []string{inMemory, kept},
			spec: spec(load.Publish, func(s *load.Spec) { s.Messages = 2_000_000 })},
		{name: "retain-e2e", what: "as e2e, all of it is kept", levels: []string{disk}, flags: []string{kept},
			spec: spec(load.EndToEnd, func(s *load.Spec) { s.Duration = 5 * time.Second })},
		{name: "replay", what: "as disk-sub, 500 k that were consumed once", levels: []string{disk}, flags: []string{overflowed, kept},
			spec: spec(load.Replay, func(s *load.Spec) { s.Messages = 500_000; s.AfterFill = breathe })},
		{name: "dedup", what: "as pub, each with a deduplication key", levels: []string{disk}, flags: []string{inMemory, dedup},
			spec: spec(load.Publish, func(s *load.Spec) { s.Messages = 1_000_000 })},
	}
}

// breathe lets a broker write what it has put off.
func breathe() { time.Sleep(time.Second) }

func sizeName(bytes int) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%dMiB", bytes>>20)
	case bytes >= 1<<10:
		return fmt.Sprintf("%dKiB", bytes>>10)
	}
	return fmt.Sprintf("%dB", bytes)
}

func costScenarios() []scenario {
	return inGroup(cost, true, []scenario{
		{name: "idle", what: "10,000 topics with a channel", levels: []string{disk}, once: true,
			spec: spec(load.Topics, func(s *load.Spec) { s.Topics, s.Duration = 10_000, 5*time.Second })},
		{name: "conns", what: "5,000 idle consumers", levels: []string{disk}, once: true,
			spec: spec(load.Conns, func(s *load.Spec) { s.Consumers, s.Duration = 5_000, 5*time.Second })},
		{name: "defer", what: "300 k messages deferred by 10 min", levels: []string{disk}, once: true,
			spec: spec(load.Held, func(s *load.Spec) {
				s.Messages, s.Delay, s.Publishers, s.Depth, s.Duration = 300_000, 10*time.Minute, 4, 64, 5*time.Second
			})},
	})
}

func growthScenarios() []scenario {
	var list []scenario
	add := func(name, what string, flags []string, s load.Spec) {
		list = append(list, scenario{name: name, what: what, levels: []string{disk}, flags: flags, once: true, spec: s})
	}
	for _, n := range []int{1, 100, 10_000} {
		add(fmt.Sprintf("grow-topics-%d", n), fmt.Sprintf("publishing to %d topics in turn, batches of 20", n), nil,
			spec(load.Publish, func(s *load.Spec) { s.Messages, s.Batch, s.Topics = 1_000_000, 20, n }))
	}
	for _, n := range []int64{0, 1_000_000, 10_000_000} {
		add(fmt.Sprintf("grow-backlog-%d", n), fmt.Sprintf("500 k consumed in front of %d others", n), nil,
			spec(load.Subscribe, func(s *load.Spec) { s.Messages, s.Take = n+500_000, 500_000; s.AfterFill = breathe }))
	}
	for _, n := range []int{1, 100, 1_000} {
		add(fmt.Sprintf("grow-publishers-%d", n), fmt.Sprintf("%d connections publish, batches of 20", n), nil,
			spec(load.Publish, func(s *load.Spec) { s.Messages, s.Batch, s.Publishers = 1_000_000, 20, n }))
	}
	for _, n := range []int{1, 100, 1_000} {
		add(fmt.Sprintf("grow-consumers-%d", n), fmt.Sprintf("1 M consumed by %d connections", n), []string{inMemory},
			spec(load.Subscribe, func(s *load.Spec) { s.Messages, s.Consumers = 1_000_000, n }))
	}
	return inGroup(growth, false, list)
}

func inGroup(g group, peer bool, list []scenario) []scenario {
	for i := range list {
		list[i].group, list[i].peer = g, peer
	}
	return list
}

// choose returns the scenarios that words name, each by its name or its group; none is all.
func choose(words []string) ([]scenario, error) {
	if len(words) == 0 {
		return scenarios, nil
	}
	var list []scenario
	for _, word := range words {
		found := false
		for _, s := range scenarios {
			if s.name == word || string(s.group) == word {
				list, found = append(list, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no scenario %q; there are: %s", word, strings.Join(names(), " "))
		}
	}
	return list, nil
}

func names() []string {
	list := []string{string(speed), string(cost), string(growth)}
	for _, s := range scenarios {
		list = append(list, s.name)
	}
	return list
}
