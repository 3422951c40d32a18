package broker

import (
	"crypto/tls"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if o.TLSMinVersion != tls.VersionTLS12 || o.TLSRequired != TLSNotRequired || o.TopologyAwareConsumption {
		t.Errorf("Validate changed the defaults: %+v", o)
	}
}

func TestDefaultNodeIDIsInRange(t *testing.T) {
	t.Parallel()
	if id := DefaultNodeID(); id < 0 || id > 1023 {
		t.Errorf("node id %d", id)
	}
}

// The texts are what an operator reads; those that nsqd has are nsqd's.
func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want string
		set  func(*Options)
	}{
		{`--max-deflate-level must be [1,9], not "0"`, func(o *Options) { o.MaxDeflateLevel = 0 }},
		{`--max-deflate-level must be [1,9], not "10"`, func(o *Options) { o.MaxDeflateLevel = 10 }},
		{`--node-id must be [0,1024), not "1024"`, func(o *Options) { o.NodeID = 1024 }},
		{`--node-id must be [0,1024), not "-1"`, func(o *Options) { o.NodeID = -1 }},
		{`--auth-http-request-method must be post or get, not "put"`, func(o *Options) { o.AuthHTTPRequestMethod = "PUT" }},
		{`--statsd-interval must be more than 0, not "0s"`, func(o *Options) { o.StatsdInterval = 0 }},
		{`--output-buffer-timeout must be more than 0, not "-1s"`, func(o *Options) { o.OutputBufferTimeout = -time.Second }},
		{`--min-output-buffer-timeout must be from 0 to --max-output-buffer-timeout, not "1m0s"`,
			func(o *Options) { o.MinOutputBufferTimeout = time.Minute }},
		{`--tcp-address must be host:port or the path of a unix socket, not ""`, func(o *Options) { o.TCPAddress = "" }},
		{`--tcp-address must be host:port such as :4150 or [::1]:4150, or the path of a unix socket; a path like this one is written with ./ before it, not "4150"`,
			func(o *Options) { o.TCPAddress = "4150" }},
		{`--http-address must be host:port such as :4150 or [::1]:4150, or the path of a unix socket; a path like this one is written with ./ before it, not "::1:4151"`,
			func(o *Options) { o.HTTPAddress = "::1:4151" }},
		{`--http-address must be host:port such as :4150 or [::1]:4150, or the path of a unix socket; a path like this one is written with ./ before it, not "[::1]"`,
			func(o *Options) { o.HTTPAddress = "[::1]" }},
		{`--tcp-address must be host:port such as :4150 or [::1]:4150, or the path of a unix socket; a path like this one is written with ./ before it, not "127.0.0.1"`,
			func(o *Options) { o.TCPAddress = "127.0.0.1" }},
		{`--tcp-address must be host:port, or the path of a unix socket without unix: before it, not "unix:/run/b"`,
			func(o *Options) { o.TCPAddress = "unix:/run/b" }},
		{`--cluster-fast-failover must be on or off, not "abc"`, func(o *Options) { o.ClusterFast = "abc" }},
		{`--lookupd-tcp-address must be host:port, not "lookup"`, func(o *Options) { o.LookupdTCPAddresses = []string{"a:1", "lookup"} }},
		{`--broadcast-tcp-port must be [0,65535], not "65536"`, func(o *Options) { o.BroadcastTCPPort = 65536 }},
		{`--mem-queue-size must be 0 or more, not "-1"`, func(o *Options) { o.MemQueueSize = -1 }},
		{`--data-path must not contain a percent sign, not "/tmp/a%b"`, func(o *Options) { o.DataPath = "/tmp/a%b" }},
		{`--msg-timeout must be more than 0, not "0s"`, func(o *Options) { o.MsgTimeout = 0 }},
		{`--max-msg-size must be [1,2147483583], not "0"`, func(o *Options) { o.MaxMsgSize = 0 }},
		{`--max-body-size must be [1,2147483647], not "2147483648"`, func(o *Options) { o.MaxBodySize = 1 << 31 }},
		{`--e2e-processing-latency-percentile must be numbers in (0,1], not "0"`,
			func(o *Options) { o.E2EProcessingLatencyPercentiles = []float64{0.9, 0} }},
		{`--e2e-processing-latency-percentile must be numbers in (0,1], not "NaN"`,
			func(o *Options) { o.E2EProcessingLatencyPercentiles = []float64{math.NaN()} }},
		{`--tls-client-auth-policy must be require, require-verify or empty, not "verify"`,
			func(o *Options) { o.TLSClientAuthPolicy = "verify" }},
		{`--tls-cert must be given together with --tls-key, not ""`, func(o *Options) { o.TLSKey = "k" }},
		{`--tls-min-version must be tls1.0, tls1.1, tls1.2 or tls1.3, not "768"`, func(o *Options) { o.TLSMinVersion = 0x300 }},
		{`--log-level must be debug, info, warn, error or fatal, not "loud"`, func(o *Options) { o.LogLevel = "loud" }},
		{`--log-format must be text or json, not "xml"`, func(o *Options) { o.LogFormat = "xml" }},
		{`--shutdown-timeout must be more than 0, not "0s"`, func(o *Options) { o.ShutdownTimeout = 0 }},
	} {
		o := DefaultOptions()
		c.set(&o)
		err := o.Validate()
		var bad *OptionError
		if !errors.As(err, &bad) || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestRequiringTLSNeedsACertificate(t *testing.T) {
	t.Parallel()
	for _, set := range []func(*Options){
		func(o *Options) { o.TLSRequired = TLSRequired },
		func(o *Options) { o.TLSRequired = TLSRequiredExceptHTTP },
		func(o *Options) { o.TLSClientAuthPolicy = "require" },
	} {
		o := DefaultOptions()
		set(&o)
		if err := o.Validate(); !errors.Is(err, ErrTLSWithoutCert) {
			t.Errorf("got %v", err)
		}
	}
}

func TestClientAuthPolicyForcesTLS(t *testing.T) {
	t.Parallel()
	for given, want := range map[TLSRequirement]TLSRequirement{
		TLSNotRequired: TLSRequired, TLSRequiredExceptHTTP: TLSRequiredExceptHTTP, TLSRequired: TLSRequired,
	} {
		o := DefaultOptions()
		o.TLSCert, o.TLSKey, o.TLSClientAuthPolicy, o.TLSRequired = "c", "k", "require-verify", given
		if err := o.Validate(); err != nil || o.TLSRequired != want {
			t.Errorf("given %v: %v, want %v, error %v", given, o.TLSRequired, want, err)
		}
	}
}

func TestExperimentsAreKeptAndOneHasAnEffect(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Experiments = []string{"unheard-of", "topology-aware-consumption"}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if !o.TopologyAwareConsumption || len(o.Experiments) != 2 {
		t.Errorf("%v %q", o.TopologyAwareConsumption, o.Experiments)
	}
}

// TestConfigNames holds the names that NSQ's /config answers to; what is new here has others.
func TestConfigNames(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	names := map[string]bool{}
	for _, s := range o.Settings() {
		names[s.Key] = true
		if value, ok := o.Config(s.Key); !ok || value == nil {
			t.Errorf("%s: %v, %v", s.Key, value, ok)
		}
	}
	for _, want := range []string{
		"auth_http_addresses", "auth_http_request_method", "broadcast_address", "broadcast_http_port", "broadcast_tcp_port",
		"data_path", "deflate", "e2e_processing_latency_percentiles", "e2e_processing_latency_window_time",
		"enable_experiment", "http_address", "http_client_connect_timeout", "http_client_request_timeout", "https_address",
		"id", "log_level", "log_prefix", "max_body_size", "max_bytes_per_file", "max_channel_consumers",
		"max_deflate_level", "max_heartbeat_interval", "max_msg_size", "max_msg_timeout", "max_output_buffer_size",
		"max_output_buffer_timeout", "max_rdy_count", "max_req_timeout", "mem_queue_size", "min_output_buffer_timeout",
		"msg_timeout", "nsqlookupd_tcp_addresses", "output_buffer_timeout", "queue_scan_selection_count",
		"queue_scan_worker_pool_max", "snappy", "statsd_address", "statsd_exclude_ephemeral",
		"statsd_interval", "statsd_mem_stats", "statsd_prefix", "statsd_udp_packet_size", "sync_every", "sync_timeout",
		"tcp_address", "tls_cert", "tls_client_auth_policy", "tls_key", "tls_min_version", "tls_required",
		"tls_root_ca_file", "topology_region", "topology_zone",
	} {
		if !names[want] {
			t.Errorf("there is no %s", want)
		}
	}
	if _, ok := o.Config("mem-queue-size"); ok {
		t.Error("a flag's name is not a name of /config")
	}
}

func TestConfigValues(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.TLSRequired = TLSRequiredExceptHTTP
	o.E2EProcessingLatencyPercentiles = []float64{0.99, 0.5}
	for name, want := range map[string]any{
		"msg_timeout":                        int64(60_000_000_000),
		"mem_queue_size":                     int64(10000),
		"max_deflate_level":                  6,
		"log_level":                          2,
		"tls_min_version":                    0x303,
		"tls_required":                       1,
		"deflate":                            true,
		"tcp_address":                        "0.0.0.0:4150",
		"nsqlookupd_tcp_addresses":           []string{},
		"e2e_processing_latency_percentiles": []float64{0.99, 0.5},
	} {
		if got, _ := o.Config(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, want %#v", name, got, want)
		}
	}
}
