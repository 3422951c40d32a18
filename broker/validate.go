package broker

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"brokerd/broker/tracing"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/loglevel"
)

// OptionError says which option cannot be as it is, and what is allowed.
type OptionError struct {
	Flag  string // without dashes
	Must  string // what is allowed, from the word "must" on
	Value string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("--%s %s, not %s", e.Flag, e.Must, e.Value)
}

// ErrTLSWithoutCert means that TLS is demanded of clients but cannot be offered.
var ErrTLSWithoutCert = errors.New("cannot require TLS client connections without TLS key and cert")

// topologyExperiment is the one experiment that exists.
const topologyExperiment = "topology-aware-consumption"

// parseLogLevel returns the level that a word of --log-level names. It fails with an OptionError.
func parseLogLevel(word string) (slog.Level, error) {
	level, err := loglevel.Parse(word)
	if err != nil {
		return 0, refuse("log-level", err.Error(), word)
	}
	return level, nil
}

// Limits that come from the wire and from overflow files, where sizes are 32-bit and a record has a header.
const (
	maxBody    = math.MaxInt32
	maxMessage = math.MaxInt32 - 64
	forever    = time.Duration(math.MaxInt64)
)

// Validate brings the options into their final form and checks them: it fails with an OptionError for the first one that
// cannot be, or wraps ErrTLSWithoutCert. It reads no file: certificates and folders are looked at when the broker starts.
//
// The final form: words in lower case; a client certificate policy makes TLS required; an experiment sets its field.
func (o *Options) Validate() error {
	o.settle()
	return cmp.Or(
		o.checkAddresses(),
		o.checkCompression(),
		o.checkTLS(),
		o.checkAccess(),
		o.checkQueues(),
		o.checkDelivery(),
		o.checkBuffers(),
		o.checkCluster(),
		o.checkStatistics(),
		o.checkProcess(),
	)
}

// settle derives what follows from other options.
func (o *Options) settle() {
	o.LogLevel = strings.ToLower(o.LogLevel)
	o.LogFormat = strings.ToLower(o.LogFormat)
	o.AuthHTTPRequestMethod = strings.ToLower(o.AuthHTTPRequestMethod)
	if o.TLSClientAuthPolicy != "" && o.TLSRequired == TLSNotRequired {
		o.TLSRequired = TLSRequired
	}
	var peers []string
	for _, list := range o.ClusterPeers {
		for address := range strings.SplitSeq(list, ",") {
			peers = append(peers, strings.TrimSpace(address))
		}
	}
	o.ClusterPeers = peers
	if slices.Contains(o.Experiments, topologyExperiment) {
		o.TopologyAwareConsumption = true
	}
}

func (o *Options) checkAddresses() error {
	if o.TCPAddress == "" {
		return refuse("tcp-address", "must be host:port or the path of a unix socket", o.TCPAddress)
	}
	for _, a := range []struct{ flag, path string }{
		{"tcp-address", o.TCPAddress}, {"http-address", o.HTTPAddress}, {"unix-socket", o.UnixSocket},
	} {
		if strings.HasPrefix(a.path, "unix:/") && a.flag != "unix-socket" {
			return refuse(a.flag, "must be host:port, or the path of a unix socket without unix: before it", a.path)
		}
		if a.flag != "unix-socket" && !isSocketPath(a.path) {
			continue
		}
		if err := checkSocketPath(a.flag, a.path); err != nil {
			return err
		}
	}
	if _, _, err := net.SplitHostPort(o.HTTPSAddress); err != nil && o.TLSCert != "" && o.HTTPSAddress != "" {
		return refuse("https-address", "must be host:port or empty", o.HTTPSAddress)
	}
	if !protocol.ValidHost(o.BroadcastAddress) { // lookups refuse it
		return refuse("broadcast-address", "must be a host name or an IP address", o.BroadcastAddress)
	}
	for _, address := range o.LookupdTCPAddresses {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return refuse("lookupd-tcp-address", "must be host:port", address)
		}
	}
	return cmp.Or(
		within("broadcast-tcp-port", o.BroadcastTCPPort, 0, 65535, "must be [0,65535]"),
		within("broadcast-http-port", o.BroadcastHTTPPort, 0, 65535, "must be [0,65535]"),
		within("node-id", o.NodeID, 0, 1023, "must be [0,1024)"),
		within("http-client-connect-timeout", o.HTTPClientConnectTimeout, 0, forever, notNegative),
		within("http-client-request-timeout", o.HTTPClientRequestTimeout, 0, forever, notNegative),
		oneOf("auth-http-request-method", o.AuthHTTPRequestMethod, "must be post or get", "post", "get"),
	)
}

func (o *Options) checkCompression() error {
	return within("max-deflate-level", o.MaxDeflateLevel, 1, 9, "must be [1,9]")
}

func (o *Options) checkTLS() error {
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return refuse("tls-cert", "must be given together with --tls-key", o.TLSCert)
	}
	err := cmp.Or(
		oneOf("tls-client-auth-policy", o.TLSClientAuthPolicy, "must be require, require-verify or empty",
			"", "require", "require-verify"),
		within("tls-min-version", tlsVersion(o.TLSMinVersion), tls.VersionTLS10, tls.VersionTLS13,
			"must be tls1.0, tls1.1, tls1.2 or tls1.3"),
	)
	if err == nil && o.TLSRequired != TLSNotRequired && o.TLSCert == "" {
		return fmt.Errorf("--tls-required=%s: %w", o.TLSRequired, ErrTLSWithoutCert)
	}
	return err
}

func (o *Options) checkQueues() error {
	if strings.Contains(o.DataPath, "%") {
		// go-diskqueue makes its file names with the folder as part of a format.
		return refuse("data-path", "must not contain a percent sign", o.DataPath)
	}
	return cmp.Or(
		o.checkDurability(),
		o.checkMessages(),
		o.checkPatterns(),
		within("mem-queue-size", o.MemQueueSize, 0, math.MaxInt64, notNegative),
		within("max-bytes-per-file", o.MaxBytesPerFile, 1, math.MaxInt64, positive),
		within("sync-every", o.SyncEvery, 0, math.MaxInt64, notNegative),
		within("sync-timeout", o.SyncTimeout, 1, forever, positive),
	)
}

func (o *Options) checkMessages() error {
	if o.HTTPMessages != "on" && o.HTTPMessages != "off" {
		return refuse("http-messages", "must be on or off", o.HTTPMessages)
	}
	return nil
}

// longestDefer bounds --max-defer: 365 days.
const longestDefer = 365 * 24 * time.Hour

func (o *Options) checkDelivery() error {
	return cmp.Or(
		within("msg-timeout", o.MsgTimeout, 1, forever, positive),
		within("max-msg-timeout", o.MaxMsgTimeout, 1, forever, positive),
		within("max-msg-size", o.MaxMsgSize, 1, maxMessage, fmt.Sprintf("must be [1,%d]", maxMessage)),
		within("max-req-timeout", o.MaxReqTimeout, 0, forever, notNegative),
		within("max-defer", o.MaxDefer, 0, longestDefer, fmt.Sprintf("must be from 0 to %v", longestDefer)),
		within("max-body-size", o.MaxBodySize, 1, maxBody, fmt.Sprintf("must be [1,%d]", maxBody)),
		within("max-unfinished-bytes", o.MaxUnfinished, 1, math.MaxInt64, positive),
		within("max-memory", o.MaxMemory, 0, math.MaxInt64, notNegative),
		within("dedup-memory", o.DedupMemory, 0, math.MaxInt64, notNegative),
		within("max-rdy-count", o.MaxRdyCount, 1, math.MaxInt32, fmt.Sprintf("must be [1,%d]", math.MaxInt32)),
		within("max-heartbeat-interval", o.MaxHeartbeatInterval, time.Millisecond, forever, "must be at least 1ms"),
		within("max-channel-consumers", o.MaxChannelConsumers, 0, math.MaxInt, notNegative),
		within("max-topics", o.MaxTopics, 0, math.MaxInt, notNegative),
		within("max-channels", o.MaxChannels, 0, math.MaxInt, notNegative),
		within("max-connections", o.MaxConnections, 0, math.MaxInt, notNegative),
		within("max-connections-per-address", o.MaxConnectionsPerAddress, 0, math.MaxInt, notNegative),
	)
}

func (o *Options) checkBuffers() error {
	return cmp.Or(
		within("output-buffer-timeout", o.OutputBufferTimeout, 1, forever, positive),
		within("min-output-buffer-timeout", o.MinOutputBufferTimeout, 0, o.MaxOutputBufferTimeout,
			"must be from 0 to --max-output-buffer-timeout"),
		within("max-output-buffer-size", o.MaxOutputBufferSize, 0, math.MaxInt32, notNegative),
	)
}

func (o *Options) checkStatistics() error {
	for _, p := range o.E2EProcessingLatencyPercentiles {
		if !(p > 0 && p <= 1) {
			return refuse("e2e-processing-latency-percentile", "must be numbers in (0,1]", fmt.Sprint(p))
		}
	}
	if o.OTLPEndpoint != "" && tracing.CheckEndpoint(o.OTLPEndpoint) != nil {
		return refuse("otlp-endpoint", "must be an http or https URL", fmt.Sprint(httpapi.Mask(o.OTLPEndpoint)))
	}
	return cmp.Or(
		within("otlp-sample", float64(o.OTLPSample), math.SmallestNonzeroFloat64, 1, "must be a number in (0,1]"),
		within("metrics-max-topics", o.MetricsMaxTopics, 0, math.MaxInt32, notNegative),
		within("statsd-interval", o.StatsdInterval, 1, forever, positive),
		within("statsd-udp-packet-size", o.StatsdUDPPacketSize, 1, 65507, "must be [1,65507]"),
		within("e2e-processing-latency-window-time", o.E2EProcessingLatencyWindowTime, 1, forever, positive),
	)
}

func (o *Options) checkProcess() error {
	_, err := parseLogLevel(o.LogLevel)
	return cmp.Or(
		err,
		oneOf("log-format", o.LogFormat, "must be text or json", "text", "json"),
		within("drain-timeout", o.DrainTimeout, 0, forever, notNegative),
		within("shutdown-timeout", o.ShutdownTimeout, 1, forever, positive),
	)
}

const (
	positive    = "must be more than 0"
	notNegative = "must be 0 or more"
)

func refuse(flag, must, value string) error {
	return &OptionError{Flag: flag, Must: must, Value: fmt.Sprintf("%q", value)}
}

// within checks low <= value <= high.
func within[T cmp.Ordered](flag string, value, low, high T, must string) error {
	if value >= low && value <= high {
		return nil
	}
	return refuse(flag, must, fmt.Sprint(value))
}

func oneOf(flag, value, must string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return refuse(flag, must, value)
}
