package session

import (
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// settings are what IDENTIFY can change.
type settings struct {
	clientID, hostname, userAgent string
	region, zone                  string
	heartbeat                     time.Duration // 0 is none
	outputSize                    int           // bytes
	outputTimeout                 time.Duration // 0 is no timer
	msgTimeout                    time.Duration
	asksMsgTimeout                bool
	sampleRate                    int32

	tls, snappy, deflate       bool
	tlsVersion, cipherSuite    uint16
	tlsProtocol, tlsCommonName string
	tlsNames                   []string // in the client's certificate, when that was verified
}

// defaultOutputSize is NSQ's output buffer size in bytes.
const defaultOutputSize = 16 << 10

func defaultSettings(cfg *Config, host string) settings {
	return settings{clientID: host, hostname: host, heartbeat: cfg.HeartbeatInterval, outputSize: defaultOutputSize,
		outputTimeout: cfg.OutputBufferTimeout, msgTimeout: cfg.MsgTimeout}
}

// apply takes over what the client asks for; its ranges have been checked.
func (set *settings) apply(r *protocol.IdentifyRequest) {
	set.clientID, set.hostname, set.userAgent = r.ClientID, r.Hostname, r.UserAgent
	set.region, set.zone = r.TopologyRegion, r.TopologyZone
	set.sampleRate = r.SampleRate
	switch r.HeartbeatInterval {
	case 0:
	case -1:
		set.heartbeat = 0
	default:
		set.heartbeat = milliseconds(r.HeartbeatInterval)
	}
	switch r.OutputBufferTimeout {
	case 0:
	case -1:
		set.outputTimeout = 0
	default:
		set.outputTimeout = milliseconds(r.OutputBufferTimeout)
	}
	switch r.OutputBufferSize {
	case 0:
	case -1:
		set.outputSize, set.outputTimeout = 1, 0
	default:
		set.outputSize = r.OutputBufferSize
	}
	if r.MsgTimeout != 0 {
		set.msgTimeout, set.asksMsgTimeout = milliseconds(r.MsgTimeout), true
	}
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// locality compares where the client is with where the broker is.
func (set *settings) locality(cfg *Config) topic.Locality {
	return LocalityOf(set.region, set.zone, cfg.TopologyRegion, cfg.TopologyZone)
}

// LocalityOf compares where a client is with where a broker is.
func LocalityOf(region, zone, ownRegion, ownZone string) topic.Locality {
	switch {
	case zone == ownZone:
		return topic.ZoneLocal
	case region == ownRegion:
		return topic.RegionLocal
	}
	return topic.Elsewhere
}
