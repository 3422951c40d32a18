# brokerd: make build, make run, make test are all that is needed day to day; the rest says what it does below.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := build
.PHONY: build run docs test crash simulate soak fuzz demo cluster demo-cluster bench interop pages clean help

include deploy/package.mk

FUZZTIME ?= 2m
CRASHRUNS ?= 20000
CRASHROUNDS ?= 20
SEEDS ?= 10000
APPSLINES ?= 1000000
ROUNDS ?= 3
SOAK ?= 30m
SCENARIOS ?=
BENCHDIR ?=
PACKAGES ?= ./...
# Packages whose subject is other processes, NSQ's daemons, a browser, pages' commands: the race detector would look at the tests only.
APART = admin/browser broker/interop admin/docs cmd/deploytest
# Rooms that start no goroutine, and neither do their tests, to which arch_test.go holds them: the detector can find nothing and takes most of the
# time, for a small one in linking. What of them is asked from elsewhere meanwhile, MEANWHILE, is tested with it.
PURE = . admin/attention admin/compat admin/docs/build admin/history admin/roster admin/ui apps/internal/bench/figures apps/internal/definitions \
  broker/channel broker/cluster broker/inflight broker/policy broker/quota diskqueue/journal diskqueue/manifest protocol protocol/apitest \
  protocol/exposition protocol/keyrule protocol/loglevel protocol/lookupwire protocol/release
MEANWHILE = TestSnapshotsAreReadMeanwhile
# What is begun first, as it takes longest.
LONG = broker broker/replica broker/storage admin diskqueue/wal diskqueue/segment broker/session broker/topic
# Binaries of tests need nothing for a debugger, which is a third of the linking, and a seventh of the compiling. (And their exit need not wait a
# second for races, see GORACE below: goleak has seen that nothing runs any more.) Vet runs once, not for each way of compiling.
TESTFLAGS = -parallel=4 -vet=off -timeout=40m
# The detector keeps a shadow of memory, twice as large. It clears that of a new buffer of up to 64 MiB by writing; else it would give the shadow of any
# over 64 KiB back and have the system make it anew, page by page, which was half of all page faults of the tests. The price: what is cleared so takes
# its memory, up to 128 MiB for a buffer, also where the test never touches the buffer.
GORACE = atexit_sleep_ms=0 clear_shadow_mmap_threshold=67108864
# In the environment, so that what tests build themselves, as a page's commands, is what has been compiled already.
PLAIN = -trimpath -gcflags=all=-dwarf=false -ldflags=-s
DATA ?= ./data

# The three daemons and brokerctl, which is every tool, into bin/.
build:
	@go build -trimpath -buildvcs=auto -ldflags "$(LDFLAGS)" -o bin/ ./...
	echo built: $$(cd bin && ls -p | grep -v /)

# A lookup, a broker and an admin on this machine's loopback until Ctrl-C. Their queues and logs are in $(DATA).
run:
	@$(MAKE) --no-print-directory build >/dev/null
	mkdir -p "$(DATA)/logs"
	set -m # a process group for each daemon, so that Ctrl-C reaches them through the trap only, and once
	pids=()
	stop() {
	  trap '' INT TERM
	  for ((i = $${#pids[@]} - 1; i >= 0; i--)); do # the last one first: a broker takes its leave of the lookup
	    kill -TERM "$${pids[i]}" 2>/dev/null || true
	    wait "$${pids[i]}" || status=$$?
	  done
	  exit "$${status:-0}"
	}
	alive() { for pid in "$${pids[@]}"; do kill -0 "$$pid" 2>/dev/null || return 1; done; }
	start() { # NAME PORT FLAGS...: returns once its port is open
	  name=$$1 port=$$2; shift 2
	  if (exec 3<>"/dev/tcp/127.0.0.1/$$port") 2>/dev/null; then
	    echo "$$name cannot start: something else listens on port $$port of this machine" >&2; status=1; stop
	  fi
	  bin/$$name "$$@" >"$(DATA)/logs/$$name.log" 2>&1 & pids+=($$!)
	  until (exec 3<>"/dev/tcp/127.0.0.1/$$port") 2>/dev/null; do
	    kill -0 "$${pids[-1]}" 2>/dev/null || { tail -n 3 "$(DATA)/logs/$$name.log" >&2; status=1; stop; }
	    sleep 0.05
	  done
	}
	trap stop INT TERM
	start lookupd 4161 --tcp-address=127.0.0.1:4160 --http-address=127.0.0.1:4161 --broadcast-address=127.0.0.1
	start brokerd 4151 --tcp-address=127.0.0.1:4150 --http-address=127.0.0.1:4151 --broadcast-address=127.0.0.1 \
	  --lookupd-tcp-address=127.0.0.1:4160 --data-path="$(DATA)"
	start admind 4171 --http-address=127.0.0.1:4171 --lookupd-http-address=127.0.0.1:4161
	set +m
	printf '%s\n' 'Broker  tcp 127.0.0.1:4150, http://127.0.0.1:4151' 'Lookup  tcp 127.0.0.1:4160, http://127.0.0.1:4161' \
	  'Admin   http://127.0.0.1:4171, what to try: http://127.0.0.1:4171/docs/first-message' 'Ctrl-C stops all three. Queues and logs: $(DATA)'
	while alive; do sleep 0.2; done
	echo "one of them has ended by itself, see $(DATA)/logs: stopping the others" >&2
	status=1
	stop

# What must hold before a change is done: format, vet, every test, with the race detector but in PURE and in APART, which runs beside the others, as it
# mostly waits. The commands that tests run as processes are built once, into bin/test, while the first packages are compiled for the detector;
# what needs them comes after. Needs only Go; where there is no C compiler for the race detector, or no Chromium for the tests of admind's page,
# it is installed if that is possible, and done without otherwise. PACKAGES narrows it.
test:
	@bad=$$(gofmt -l .)
	if [ -n "$$bad" ]; then echo "gofmt these files: $$bad" >&2; exit 1; fi
	cc=$$(go env CC); race=-race; missing=()
	browser() { command -v chromium-headless-shell || command -v chromium || command -v chromium-browser || command -v google-chrome; }
	command -v "$${cc%% *}" >/dev/null || missing+=(gcc libc6-dev)
	browser >/dev/null || missing+=(chromium-headless-shell)
	if [ "$${#missing[@]}" -gt 0 ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	  echo "installing $${missing[*]}: the race detector needs a C compiler, the tests of the web page need Chromium"
	  apt-get update -q >/dev/null 2>&1 || true
	  for package in "$${missing[@]}"; do
	    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$$package" >/dev/null 2>&1 || true
	  done
	fi
	if ! command -v "$${cc%% *}" >/dev/null; then
	  echo 'THE RACE DETECTOR IS OFF: it needs a C compiler, install gcc to have it' >&2; race=
	fi
	browser >/dev/null || echo 'NOT RUN: the tests of the web page (admin/browser), as there is no Chromium' >&2
	all=$$(go list $(PACKAGES))
	among() { for name in "$${@/#/brokerd/}"; do grep -Fx "$${name%/.}" <<<"$$all" || true; done; } # in this order
	apart=$$(among $(APART)) first=$$(among $(LONG)) seeded=$$(among broker/replica broker/storage)
	pure=$$(among $(PURE))
	tools=$$(grep '^brokerd/apps/' <<<"$$all" | grep -vFx "$$pure" || true)
	rest=$$(grep -vFx "$$apart"$$'\n'"$$first"$$'\n'"$$pure"$$'\n'"$$tools" <<<"$$all" || true)
	export TEST_BINARIES=$$PWD/bin/test GORACE="$(GORACE)" GOFLAGS="$$(go env GOFLAGS) $(PLAIN)"
	logs=$$(mktemp -d)
	trap 'kill -TERM -- "-$$beside" 2>/dev/null || true; rm -rf "$$logs"' EXIT
	tested() { # RACE PACKAGES [TESTS]; only the detector needs C, and what is released is made without
	  [ -z "$${2// /}" ] || CGO_ENABLED=$$((!!$${#1})) go test $$1 $(TESTFLAGS) $$2 $${3:+-run "$$3"}
	}
	set -m # a process group, so that Ctrl-C here ends all of it
	{ set +m
	  CGO_ENABLED=0 go build -o bin/test/ ./cmd/{brokerd,lookupd,admind} ./apps/brokerctl || exit 1
	  tested '' "$$apart" >"$$logs/apart" 2>&1 & mostly=$$! ok=0
	  tested '' "$$seeded" 'TestSimulator|TestD[0-9]|TestCrash$$|TestFailingOperations|TestDamagedNewestCheckpoint|TestOptionsThroughCrashes' || ok=1 # simulators, without the detector
	  tested '' "$$pure" || ok=1
	  [ -z "$$race" ] || tested "$$race" "$$(among diskqueue/journal)" '$(MEANWHILE)' || ok=1
	  tested "$$race" "$$tools" || ok=1
	  CGO_ENABLED=$$((!!$${#race})) go vet $$race $$all || ok=1 # of what has been compiled for the detector already
	  wait "$$mostly" || ok=1
	  exit $$ok
	} >"$$logs/beside" 2>&1 & beside=$$!
	set +m
	status=0
	tested "$$race" "$$first $$rest" || status=1
	wait "$$beside" || status=1
	cat "$$logs"/*
	exit $$status

# What is made of code in docs/ (references of settings, commands and HTTP), and the pages of all of docs/ that admind serves.
docs:
	@UPDATE_DOCS=1 go test -count=1 ./cmd/{brokerd,lookupd,admind} ./{broker,lookup,admin}/httpd ./apps/internal/brokerctl ./broker/interop -run ThePageOf
	UPDATE_DOCS=1 go test -count=1 ./admin/docs -run TestTheSiteIsWhatTheFilesSay

# Ends brokers and their storage at random moments, long: CRASHRUNS (20000) seeded runs on a file system in memory that forgets
# what was not synced, and real brokers, killed CRASHROUNDS (20) times, with the power of a loop-mounted disk cut, on full disks.
# As root, or the last two are skipped and say so.
crash:
	@go test -count=1 -timeout=60m ./broker/storage -crash-runs=$(CRASHRUNS)
	BROKERD_CRASH_ROUNDS=1 go test -count=1 -timeout=30m ./broker ./broker/topic -run 'StartsWhole|UnfinishedBodies|ExpireTogether|SpaceOfWhat|LittleMemory|ManyTopics|LongKey'
	go test -count=1 -timeout=60m ./diskqueue/segment -run 'Crash|Cut|Failures' -powercuts=$(CRASHRUNS)
	WAL_CRASH_RUNS=$(CRASHRUNS) go test -count=1 -timeout=60m ./diskqueue/wal -run Crash
	BROKERD_CRASH_ROUNDS=$(CRASHROUNDS) go test -count=1 -timeout=30m -v ./broker/interop -run 'Killed|PowerCut|FullDisk|Quota|StopUnderLoad|Corrupted|RollingRestart'
	BROKERD_CRASH_ROUNDS=$(CRASHROUNDS) go test -count=1 -timeout=90m -v ./broker/interop -run 'Histories'
	BROKERD_CRASH_FREEZE=1 go test -count=1 -timeout=10m -v ./broker/interop -run 'FrozenDisk'

# Groups of replicas under all faults at once, in virtual time: SEEDS (10000) runs, each repeatable by its number, and a tenth of them four times as long.
# What is not yet served by a broker is in there as well. Then whole brokers with clients, a hundredth of SEEDS.
simulate:
	@go test -count=1 -timeout=10h -v ./broker/replica -run TestSimulator -seeds $(SEEDS)
	go test -count=1 -timeout=10h -v ./broker/replica -run TestSimulator -seed 100001 -times 4 -seeds $$(($(SEEDS) / 10))
	go test -count=1 -timeout=10h -v ./broker -run TestSimulatorOfBrokers -broker-seeds $$(($(SEEDS) / 100)) -broker-rounds 10 -broker-disks

# 64 stock producers, 64 stock consumers and 20 topics at 5,000 messages a second, for as long as SOAK (30m) says: nothing may be lost or come
# twice, and memory, goroutines and descriptors may not grow over the second half. It prints the slopes.
soak:
	@BROKERD_SOAK=$(SOAK) go test -count=1 -timeout=24h -v ./broker/interop -run TestSoak

# Every fuzz target of PACKAGES for FUZZTIME (2m) each.
fuzz:
	@for package in $$(go list $(PACKAGES)); do
	  for target in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do
	    echo "== $$package $$target"
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime "$(FUZZTIME)" "$$package"
	  done
	done

# Three million lines of the Go library's source through a broker and stock clients, counted at the end.
demo: build
	@bin/brokerctl demo $(DEMOFLAGS)

# Three brokers that are one cluster, two lookups and an admin on this machine until Ctrl-C, with a replicated topic under load. It says which
# process to kill -9 in another terminal, starts it again after 10 s, and counts what was acknowledged, finished, lost and duplicated.
cluster: build
	@bin/brokerctl demo-cluster --by-hand $(DEMOFLAGS)

# The same by itself: kills each leader in turn, pauses one, wipes the folder of one; fails unless all that was acknowledged was finished.
demo-cluster: build
	@bin/brokerctl demo-cluster $(DEMOFLAGS)

# The standard scenarios on brokerd, and on nsqd where that is on PATH, ROUNDS (3) times in turn; writes the tables of
# docs/BENCHMARKS.md. SCENARIOS picks some, whose tables are printed instead; BENCHDIR is the folder for the brokers' data.
bench: build
	@write=--write=docs/BENCHMARKS.md
	[ -z "$(SCENARIOS)" ] || write=
	command -v nsqd >/dev/null || echo 'nsqd is not on PATH: brokerd is measured alone'
	bin/brokerctl bench standard --ours=bin/brokerd --rounds=$(ROUNDS) --scenarios="$(SCENARIOS)" --dir="$(BENCHDIR)" $$write

# Clusters, dialogues, data folders and tools with NSQ's own daemons and tools 1.3.0, and nsqadmin's answers beside admind's. They are
# yours, and taken from PATH. What was not run is listed at the end; one that is missing fails this.
interop:
	@missing=()
	for binary in nsqd nsqlookupd nsqadmin nsq_to_file nsq_to_http nsq_to_nsq nsq_tail nsq_stat to_nsq; do
	  command -v "$$binary" >/dev/null || missing+=("$$binary")
	done
	log=$$(mktemp); trap 'rm -f "$$log"' EXIT
	status=0
	go test -count=1 -timeout=40m -v ./broker/interop ./apps/... 2>&1 | tee "$$log" | grep -vE '^(=== | *--- PASS)' || true
	if grep -qE '^(FAIL|panic:)' "$$log"; then status=1; fi
	echo "$$(grep -c -- '--- PASS' "$$log" || true) tests and cases passed, $$(grep -c -- '--- SKIP' "$$log" || true) were not run"
	grep -- '--- SKIP' "$$log" | sed 's/ *--- SKIP: /NOT RUN: /; s/ (.*//' >&2 || true
	if [ "$${#missing[@]}" -gt 0 ]; then
	  echo "NOT RUN: what needs $${missing[*]}: not found on PATH" >&2
	  status=1
	fi
	exit "$$status"

# APPSLINES (1000000) real lines through ship, a broker and tofile, with the broker, the lookup and both tools killed in turn all the
# while; says how many were lost (none, or it fails) and how many came again.
apps-proof:
	@APPS_PROOF_LINES=$(APPSLINES) go test -count=1 -timeout=30m -v ./apps/internal/ship -run TestChainWithKills

# admind's page in a browser: every page at every width, with each name that somebody could give, of which make test takes turns; leaves
# pictures of them, light and dark, in bin/screenshots.
pages:
	@ADMIN_WHOLE=1 ADMIN_PICTURES=1 go test -count=1 -timeout=30m ./admin/browser

clean:
	@rm -rf bin

help:
	@awk '/^#/ { text = text substr($$0, 2) "\n"; next } /^[a-z-]+:/ && text { printf "make %s\n%s\n", $$1, text } { text = "" }' Makefile deploy/package.mk
