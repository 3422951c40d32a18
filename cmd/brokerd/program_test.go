package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/broker"
	"brokerd/cmd/cmdkit"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/release"
)

// told returns what brokerd makes of flags, environment and the text of a file.
func told(t *testing.T, args []string, env map[string]string, toml string) (broker.Options, error) {
	t.Helper()
	if toml != "" {
		path := filepath.Join(t.TempDir(), "brokerd.toml")
		if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config="+path)
	}
	o := broker.DefaultOptions()
	_, err := program(&o).Configure(cmdtest.Told(args, env))
	return o, err
}

func TestFileOfNSQ(t *testing.T) {
	got, err := told(t, []string{"--config=testdata/nsqd.toml"}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	want := broker.Options{
		Durability: broker.DefaultOptions().Durability, MaxUnfinished: broker.DefaultOptions().MaxUnfinished, MinFreeSpace: broker.DefaultOptions().MinFreeSpace, // not NSQ's
		DedupMemory: broker.DefaultOptions().DedupMemory, HTTPMessages: broker.DefaultOptions().HTTPMessages,
		ClusterListen: broker.DefaultOptions().ClusterListen, ClusterElection: broker.DefaultOptions().ClusterElection, ClusterWait: broker.DefaultOptions().ClusterWait,
		ClusterFast: broker.DefaultOptions().ClusterFast,
		NodeID:      77, TCPAddress: "127.0.0.1:5150", HTTPAddress: "127.0.0.1:5151", HTTPSAddress: "127.0.0.1:5152",
		BroadcastAddress: "queue-7.example.net", BroadcastTCPPort: 6150, BroadcastHTTPPort: 6151,
		LookupdTCPAddresses:      []string{"lookup-1:4160", "lookup-2:4160"},
		HTTPClientConnectTimeout: 3 * time.Second, HTTPClientRequestTimeout: 7 * time.Second,
		AuthHTTPAddresses:     []string{"auth-1:4181", "https://auth-2.example.net/check"},
		AuthHTTPRequestMethod: "post",
		TopologyRegion:        "north", TopologyZone: "north-1", TopologyAwareConsumption: true,
		Experiments: []string{"topology-aware-consumption"},
		DataPath:    "/var/lib/queue", MemQueueSize: 20000, MaxBytesPerFile: 50 << 20, SyncEvery: 100, SyncTimeout: 5 * time.Second,
		QueueScanWorkerPoolMax: 8, QueueScanSelectionCount: 40,
		MsgTimeout: 90 * time.Second, MaxMsgTimeout: 30 * time.Minute, MaxMsgSize: 2 << 20,
		MaxReqTimeout: 2 * time.Hour, MaxBodySize: 10 << 20, ClientTimeout: time.Minute,
		MaxHeartbeatInterval: 2 * time.Minute, MaxRdyCount: 5000, MaxChannelConsumers: 12,
		MaxOutputBufferSize: 128 << 10, MaxOutputBufferTimeout: 20 * time.Second,
		MinOutputBufferTimeout: 50 * time.Millisecond, OutputBufferTimeout: 100 * time.Millisecond,
		StatsdAddress: "127.0.0.1:8125", StatsdPrefix: "queues.%s", StatsdInterval: 30 * time.Second,
		StatsdUDPPacketSize: 1432, StatsdExcludeEphemeral: true, MetricsMaxTopics: 1000, OTLPSample: 0.001, DrainTimeout: 5 * time.Minute,
		E2EProcessingLatencyWindowTime: 5 * time.Minute, E2EProcessingLatencyPercentiles: []float64{1, 0.99, 0.5},
		TLSCert: "/etc/queue/cert.pem", TLSKey: "/etc/queue/key.pem", TLSClientAuthPolicy: "require-verify",
		TLSRootCAFile: "/etc/queue/ca.pem", TLSRequired: broker.TLSRequiredExceptHTTP, TLSMinVersion: tls.VersionTLS13,
		MaxDeflateLevel: 9, ShutdownTimeout: broker.DefaultOptions().ShutdownTimeout,
		LogLevel: "warn", LogPrefix: "[queue-7] ", LogFormat: "text",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNothingToldIsTheDefaults(t *testing.T) {
	got, err := told(t, nil, nil, "")
	if want := broker.DefaultOptions(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestEmptyEnvironmentIsTheDefaults: an empty variable for every setting, as compose gives those that are not set.
func TestEmptyEnvironmentIsTheDefaults(t *testing.T) {
	env := map[string]string{"BROKERD_CONFIG": ""}
	for _, s := range program(new(broker.Options)).Settings {
		env["BROKERD_"+strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))] = ""
	}
	got, err := told(t, []string{"--lookupd-tcp-address=", "--data-path=", "--auth-http-address", ""}, env, "")
	if want := broker.DefaultOptions(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestEveryVariableCounts.
func TestEveryVariableCounts(t *testing.T) {
	var names []string
	for _, s := range program(new(broker.Options)).Settings {
		names = append(names, s.Name)
	}
	others := map[string]string{"BROKERD_TLS_CERT": "c", "BROKERD_TLS_KEY": "k", "BROKERD_CLUSTER_NAME": "c", "BROKERD_CLUSTER_PEERS": "a:1,b:1,c:1",
		"BROKERD_CLUSTER_TLS_CERT": "c", "BROKERD_CLUSTER_TLS_KEY": "k", "BROKERD_CLUSTER_TLS_CA": "r", "BROKERD_CLUSTER_SECRET_FILE": "s"}
	cmdtest.EveryVariable(t, "BROKERD_", names, others, func(env map[string]string) (any, error) { return told(t, nil, env, "") })
}

// TestUnknownNamesAreWarnedOf when the daemon runs, and stop nothing.
func TestUnknownNamesAreWarnedOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "brokerd.toml")
	if err := os.WriteFile(file, []byte("mem_queue_sise = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--data-path=" + t.TempDir(), "--config=" + file}
	env := map[string]string{"BROKERD_MEM_QUEUE_SISE": "20", "BROKERD_PORT": "tcp://10.0.0.1:4150", "BROKERD_SERVICE_HOST": "10.0.0.1"}
	code, _, stderr := cmdtest.Call(run, args, env, syscall.SIGTERM)
	if code != cmdkit.ExitOK || strings.Count(stderr, "level=WARN") != 2 ||
		!strings.Contains(stderr, "key=mem_queue_sise file="+file+" did_you_mean=mem_queue_size\n") ||
		!strings.Contains(stderr, "variable=BROKERD_MEM_QUEUE_SISE did_you_mean=BROKERD_MEM_QUEUE_SIZE\n") {
		t.Errorf("code %d, log\n%s", code, stderr)
	}
}

// TestSettingsWithoutEffectAreWarnedOf, in one line, whatever they came from.
func TestSettingsWithoutEffectAreWarnedOf(t *testing.T) {
	args := []string{"--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--data-path=" + t.TempDir(), "--queue-scan-selection-count=20", "--verbose"}
	env := map[string]string{"BROKERD_QUEUE_SCAN_WORKER_POOL_MAX": "8", "BROKERD_WORKER_ID": "3"}
	code, _, stderr := cmdtest.Call(run, args, env, syscall.SIGTERM)
	if code != cmdkit.ExitOK || strings.Count(stderr, "level=WARN") != 1 ||
		!strings.Contains(stderr, `msg="set without effect" settings="[queue-scan-worker-pool-max queue-scan-selection-count verbose worker-id]"`) {
		t.Errorf("code %d, log\n%s", code, stderr)
	}
}

func TestOptionsTold(t *testing.T) {
	cert := []string{"--tls-cert=c", "--tls-key=k"}
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		toml string
		want func(*broker.Options)
	}{
		{"pynsq's suite", []string{"--verbose", "--snappy", "--deflate", "-lookupd-tcp-address=127.0.0.1:4160", "--node-id", "3"}, nil, "",
			func(o *broker.Options) { o.NodeID, o.LookupdTCPAddresses = 3, []string{"127.0.0.1:4160"} }},
		{"nsqjs's suite", []string{"-http-address", "127.0.0.1:1", "-tcp-address", "/run/b.sock", "-data-path", "/d"}, nil, "",
			func(o *broker.Options) { o.HTTPAddress, o.TCPAddress, o.DataPath = "127.0.0.1:1", "/run/b.sock", "/d" }},
		{"HTTP off", []string{"--http-address="}, nil, "", func(o *broker.Options) { o.HTTPAddress = "" }},
		{"HTTPS off", append(cert, "--https-address="), nil, "",
			func(o *broker.Options) { o.TLSCert, o.TLSKey, o.HTTPSAddress = "c", "k", "" }},
		{"flags replace the file's list", []string{"--lookupd-tcp-address=a:1", "--lookupd-tcp-address=b:2"}, nil,
			`nsqlookupd_tcp_addresses = ["c:3", "d:4"]`, func(o *broker.Options) { o.LookupdTCPAddresses = []string{"a:1", "b:2"} }},
		{"percentiles in descending order",
			[]string{"--e2e-processing-latency-percentile=0.5,0.99", "--e2e-processing-latency-percentile=1"}, nil, "",
			func(o *broker.Options) { o.E2EProcessingLatencyPercentiles = []float64{1, 0.99, 0.5} }},
		{"TLS required, bare flag", append(cert, "--tls-required"), nil, "", tlsRequired(broker.TLSRequired)},
		{"TLS required, of TCP only", append(cert, "--tls-required=tcp-https"), nil, "", tlsRequired(broker.TLSRequiredExceptHTTP)},
		{"TLS required, boolean in the file", cert, nil, "tls_required = true", tlsRequired(broker.TLSRequired)},
		{"TLS not required, boolean in the file", cert, nil, "tls_required = false", tlsRequired(broker.TLSNotRequired)},
		{"TLS required, from the environment", cert, map[string]string{"BROKERD_TLS_REQUIRED": "true"}, "", tlsRequired(broker.TLSRequired)},
		{"lowest TLS", []string{"--tls-min-version=tls1.0"}, nil, "", func(o *broker.Options) { o.TLSMinVersion = tls.VersionTLS10 }},
		{"lowest TLS, empty in the file", nil, nil, `tls_min_version = ""`, func(*broker.Options) {}},
		{"level in capitals", nil, map[string]string{"BROKERD_LOG_LEVEL": "DEBUG"}, "", func(o *broker.Options) { o.LogLevel = "debug" }},
		{"own flags", []string{"--log-format=json", "--shutdown-timeout=5s"}, nil, "",
			func(o *broker.Options) { o.LogFormat, o.ShutdownTimeout = "json", 5*time.Second }},
		{"environment over file", nil, map[string]string{"BROKERD_MEM_QUEUE_SIZE": "1", "BROKERD_LOOKUPD_TCP_ADDRESS": "e:5,f:6"},
			"mem_queue_size = 2\nsync_every = 3",
			func(o *broker.Options) {
				o.MemQueueSize, o.SyncEvery, o.LookupdTCPAddresses = 1, 3, []string{"e:5", "f:6"}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := told(t, c.args, c.env, c.toml)
			want := broker.DefaultOptions()
			c.want(&want)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v\nerror %v", got, want, err)
			}
		})
	}
}

func tlsRequired(r broker.TLSRequirement) func(*broker.Options) {
	return func(o *broker.Options) { o.TLSCert, o.TLSKey, o.TLSRequired = "c", "k", r }
}

// Each is the whole of stderr, and exit code 2.
func TestWrongOptions(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{args: []string{"--max-deflate-level=12"}, want: `--max-deflate-level must be [1,9], not "12" (from the flag)`},
		{env: map[string]string{"BROKERD_NODE_ID": "1024"},
			want: `--node-id must be [0,1024), not "1024" (from the environment variable BROKERD_NODE_ID)`},
		{args: []string{"--msg-timeout=soon"},
			want: `--msg-timeout must be a duration such as 250ms, 60s or 1h30m, not "soon" (from the flag)`},
		{args: []string{"--tls-required=maybe"}, want: `--tls-required must be true, false or tcp-https, not "maybe" (from the flag)`},
		{args: []string{"--tls-min-version=ssl3.0"},
			want: `--tls-min-version must be tls1.0, tls1.1, tls1.2 or tls1.3, not "ssl3.0" (from the flag)`},
		{args: []string{"--tls-required"},
			want: `--tls-required=true: cannot require TLS client connections without TLS key and cert`},
		{env: map[string]string{"BROKERD_E2E_PROCESSING_LATENCY_PERCENTILE": "0.5,2"},
			want: `--e2e-processing-latency-percentile must be numbers in (0,1], not "2" (from the environment variable BROKERD_E2E_PROCESSING_LATENCY_PERCENTILE)`},
		{args: []string{"--statsd-interval=0s"}, want: `--statsd-interval must be more than 0, not "0s" (from the flag)`},
		{args: []string{"--durabilty=disk"}, want: `flag provided but not defined: -durabilty (did you mean --durability?): see brokerd --help`},
	} {
		code, stdout, stderr := cmdtest.Call(run, c.args, c.env)
		if code != cmdkit.ExitUsage || stdout != "" || stderr != "brokerd: "+c.want+"\n" {
			t.Errorf("code %d, stdout %q\ngot  %swant brokerd: %s", code, stdout, stderr, c.want)
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	for flag, want := range map[string]string{
		"--version": "brokerd " + release.This().String() + "\n",
		"--help":    "\n  --mem-queue-size=N                          messages a topic or channel keeps in memory",
	} {
		code, stdout, stderr := cmdtest.Call(run, []string{flag}, nil)
		if code != cmdkit.ExitOK || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("%s: code %d, stderr %q, stdout %s", flag, code, stderr, stdout)
		}
	}
}
