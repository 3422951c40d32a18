package protocol

import (
	"encoding/json"
	"strings"
	"time"
)

// IdentifyRequest is the body of IDENTIFY. Unknown keys are ignored; null means not given.
type IdentifyRequest struct {
	ClientID            string `json:"client_id"`
	Hostname            string `json:"hostname"`
	UserAgent           string `json:"user_agent"`
	TopologyRegion      string `json:"topology_region"`
	TopologyZone        string `json:"topology_zone"`
	HeartbeatInterval   int    `json:"heartbeat_interval"`    // milliseconds; 0 keeps the default, -1 none
	OutputBufferTimeout int    `json:"output_buffer_timeout"` // milliseconds; 0 keeps the default, -1 none
	OutputBufferSize    int    `json:"output_buffer_size"`    // bytes; 0 keeps the default, -1 no buffering
	SampleRate          int32  `json:"sample_rate"`           // percent, 0 is off
	MsgTimeout          int    `json:"msg_timeout"`           // milliseconds; 0 keeps the default
	FeatureNegotiation  bool   `json:"feature_negotiation"`
	TLSv1               bool   `json:"tls_v1"`
	Deflate             bool   `json:"deflate"`
	DeflateLevel        int    `json:"deflate_level"`
	Snappy              bool   `json:"snappy"`
}

// IdentifyLimits are the ranges that a broker accepts in IDENTIFY.
type IdentifyLimits struct {
	MaxHeartbeatInterval   time.Duration
	MinOutputBufferTimeout time.Duration
	MaxOutputBufferTimeout time.Duration
	MaxOutputBufferSize    int64
	MaxMsgTimeout          time.Duration
}

// Lowest accepted values of IDENTIFY's fields.
const (
	minHeartbeatMS = 1000
	minMsgMS       = 1000
	minOutputBytes = 64
	maxSampleRate  = 99
)

// maxText is how many bytes are kept of each text that a client says of itself: a connection holds them as long as it lives.
const maxText = 1024

// ParseIdentify decodes an IDENTIFY body and checks its ranges; texts are cut to 1024 bytes. The error is an *Error.
func ParseIdentify(body []byte, l IdentifyLimits) (*IdentifyRequest, error) {
	r := new(IdentifyRequest)
	if err := json.Unmarshal(body, r); err != nil {
		return nil, Errorf(CodeBadBody, "IDENTIFY failed to decode JSON body").Because(err)
	}
	for _, text := range []*string{&r.ClientID, &r.Hostname, &r.UserAgent, &r.TopologyRegion, &r.TopologyZone} {
		if len(*text) > maxText {
			*text = strings.Clone(strings.ToValidUTF8((*text)[:maxText], "")) // the whole one is not to be kept
		}
	}
	return r, r.check(l)
}

// check tests the fields in NSQ's order, so that of several faults the same one is told.
func (r *IdentifyRequest) check(l IdentifyLimits) error {
	for _, f := range [...]struct {
		what  string
		value int
		ok    bool
	}{
		{"heartbeat interval", r.HeartbeatInterval,
			optional(r.HeartbeatInterval) || within(r.HeartbeatInterval, minHeartbeatMS, ms(l.MaxHeartbeatInterval))},
		{"output buffer timeout", r.OutputBufferTimeout, optional(r.OutputBufferTimeout) ||
			within(r.OutputBufferTimeout, ms(l.MinOutputBufferTimeout), ms(l.MaxOutputBufferTimeout))},
		{"output buffer size", r.OutputBufferSize,
			optional(r.OutputBufferSize) || within(r.OutputBufferSize, minOutputBytes, l.MaxOutputBufferSize)},
		{"sample rate", int(r.SampleRate), within(int(r.SampleRate), 0, maxSampleRate)},
		{"msg timeout", r.MsgTimeout, r.MsgTimeout == 0 || within(r.MsgTimeout, minMsgMS, ms(l.MaxMsgTimeout))},
	} {
		if !f.ok {
			return Errorf(CodeBadBody, "IDENTIFY %s (%d) is invalid", f.what, f.value)
		}
	}
	return nil
}

// optional reports whether v is one of the two values that stand for "default" and "none".
func optional(v int) bool { return v == 0 || v == -1 }

func within(v int, low, high int64) bool { return int64(v) >= low && int64(v) <= high }

func ms(d time.Duration) int64 { return int64(d / time.Millisecond) }

// IdentifyResponse is the answer to an IDENTIFY with feature_negotiation. The order of its fields is that of nsqd.
type IdentifyResponse struct {
	MaxRdyCount         int64  `json:"max_rdy_count"`
	Version             string `json:"version"`
	MaxMsgTimeout       int64  `json:"max_msg_timeout"` // milliseconds
	MsgTimeout          int64  `json:"msg_timeout"`     // milliseconds
	TLSv1               bool   `json:"tls_v1"`
	Deflate             bool   `json:"deflate"`
	DeflateLevel        int    `json:"deflate_level"`
	MaxDeflateLevel     int    `json:"max_deflate_level"`
	Snappy              bool   `json:"snappy"`
	SampleRate          int32  `json:"sample_rate"`
	AuthRequired        bool   `json:"auth_required"`
	OutputBufferSize    int    `json:"output_buffer_size"`
	OutputBufferTimeout int64  `json:"output_buffer_timeout"` // milliseconds
	TopologyRegion      string `json:"topology_region"`
	TopologyZone        string `json:"topology_zone"`
}

// AuthResponse is the answer to AUTH.
type AuthResponse struct {
	Identity        string `json:"identity"`
	IdentityURL     string `json:"identity_url"`
	PermissionCount int    `json:"permission_count"`
}
