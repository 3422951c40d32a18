package lookupwire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"brokerd/protocol"
)

// MaxIdentifyBody is the longest body of IDENTIFY that a lookup reads, in bytes. A broker sends about 250.
const MaxIdentifyBody = 16 << 10

// PeerInfo is what a broker says of itself. Nothing here is checked against the socket: the addresses are those that
// consumers are to use.
type PeerInfo struct {
	Version          string `json:"version"`           // required
	TCPPort          int    `json:"tcp_port"`          // required, not 0
	HTTPPort         int    `json:"http_port"`         // required, not 0
	Hostname         string `json:"hostname"`          // the host's own name
	BroadcastAddress string `json:"broadcast_address"` // required: host name or IP address, IPv6 without brackets
	TopologyZone     string `json:"topology_zone"`
	TopologyRegion   string `json:"topology_region"`

	Token string `json:"token,omitempty"` // brokerd's own: who it is, where a lookup asks for that
}

// LookupInfo is what a lookup answers to IDENTIFY. The order of its fields is that of the keys on the wire.
type LookupInfo struct {
	BroadcastAddress string `json:"broadcast_address"` // where brokers ask for a topic's channels, with HTTPPort
	Hostname         string `json:"hostname"`
	HTTPPort         int    `json:"http_port"`            // as bound
	HTTPSPort        int    `json:"https_port,omitempty"` // lookupd's own: the same over TLS; 0 for none
	TCPPort          int    `json:"tcp_port"`             // as bound
	Version          string `json:"version"`
}

// Errors behind a refused IDENTIFY body.
var (
	ErrBodySize      = errors.New("size of the body out of range")
	ErrMissingFields = errors.New("a required field is empty")
	ErrBadField      = errors.New("a field is not what it must be")
)

// IdentifyBodySize reads the four bytes before the body. A size below 0 or above MaxIdentifyBody is an *Error.
func IdentifyBodySize(prefix [4]byte) (int, error) {
	size := int32(binary.BigEndian.Uint32(prefix[:]))
	switch {
	case size < 0:
		return 0, &Error{Code: CodeBadBody, Desc: fmt.Sprintf("IDENTIFY invalid body size %d", size), Err: ErrBodySize}
	case size > MaxIdentifyBody:
		return 0, &Error{
			Code: CodeBadBody, Desc: fmt.Sprintf("IDENTIFY body too big %d > %d", size, MaxIdentifyBody), Err: ErrBodySize,
		}
	}
	return int(size), nil
}

// IdentifySizeUnread is the refusal when the four bytes before the body did not arrive.
func IdentifySizeUnread(cause error) *Error {
	return &Error{Code: CodeBadBody, Desc: "IDENTIFY failed to read body size", Err: cause}
}

// IdentifyBodyUnread is the refusal when the body did not arrive.
func IdentifyBodyUnread(cause error) *Error {
	return &Error{Code: CodeBadBody, Desc: "IDENTIFY failed to read body", Err: cause}
}

// ParseIdentify reads the body of IDENTIFY. Keys that are not PeerInfo's are ignored. The error is an *Error.
func ParseIdentify(body []byte) (PeerInfo, error) {
	var info PeerInfo
	if err := json.Unmarshal(body, &info); err != nil {
		return PeerInfo{}, &Error{Code: CodeBadBody, Desc: "IDENTIFY failed to decode JSON body", Err: err}
	}
	if info.BroadcastAddress == "" || info.TCPPort == 0 || info.HTTPPort == 0 || info.Version == "" {
		return PeerInfo{}, &Error{Code: CodeBadBody, Desc: "IDENTIFY missing fields", Err: ErrMissingFields}
	}
	if field, must := info.wrong(); field != "" {
		return PeerInfo{}, &Error{Code: CodeBadBody, Desc: fmt.Sprintf("IDENTIFY %s must be %s", field, must), Err: ErrBadField}
	}
	return info, nil
}

// maxText is the longest text that a broker may say of itself, in bytes: that of a host name.
const maxText = 255

// wrong returns the field that cannot be, and what it must be. Consumers connect to the address, and pages show the texts.
func (info *PeerInfo) wrong() (field, must string) {
	switch {
	case !protocol.ValidHost(info.BroadcastAddress):
		return "broadcast_address", "a host name or an IP address"
	case info.TCPPort < 1 || info.TCPPort > 65535:
		return "tcp_port", "1 to 65535"
	case info.HTTPPort < -1 || info.HTTPPort > 65535:
		return "http_port", "1 to 65535, or -1 for none"
	}
	for _, text := range []struct{ field, value string }{
		{"version", info.Version}, {"hostname", info.Hostname}, {"topology_zone", info.TopologyZone}, {"topology_region", info.TopologyRegion},
	} {
		if len(text.value) > maxText || !utf8.ValidString(text.value) || strings.ContainsFunc(text.value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return text.field, fmt.Sprintf("%d bytes of printable text at most", maxText)
		}
	}
	return "", ""
}

// AppendIdentify appends the IDENTIFY command with its body.
func AppendIdentify(dst []byte, info PeerInfo) []byte {
	return AppendReply(append(dst, Identify+"\n"...), mustJSON(info)) // a body is framed as a reply is
}

// AppendIdentifyReply appends the framed reply to IDENTIFY.
func AppendIdentifyReply(dst []byte, info LookupInfo) []byte { return AppendReply(dst, mustJSON(info)) }

// ParseIdentifyReply reads the payload of the reply to IDENTIFY. A refusal comes back as an *Error.
func ParseIdentifyReply(reply []byte) (LookupInfo, error) {
	if refused := ReplyError(reply); refused != nil {
		return LookupInfo{}, refused
	}
	var info LookupInfo
	if err := json.Unmarshal(reply, &info); err != nil {
		return LookupInfo{}, fmt.Errorf("decode the reply to IDENTIFY: %w", err)
	}
	return info, nil
}

// mustJSON encodes a struct of strings and ints, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
