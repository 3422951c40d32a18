package protocol

import (
	"net/netip"
	"strings"
)

// MaxNameLength is the longest topic or channel name in bytes, the ephemeral suffix included.
const MaxNameLength = 64

// EphemeralSuffix marks a topic or channel that is not kept on disk and goes with its last user.
const EphemeralSuffix = "#ephemeral"

// ValidName reports whether name may name a topic or a channel: 1 to 64 bytes of '.', '-', '_', letters and digits, then
// optionally "#ephemeral", which counts towards the 64. NSQ's clients check the same rule.
func ValidName[T ~string | ~[]byte](name T) bool {
	n := len(name)
	if n == 0 || n > MaxNameLength {
		return false
	}
	if IsEphemeral(name) {
		n -= len(EphemeralSuffix)
	}
	if n == 0 {
		return false
	}
	for i := range n {
		if !nameByte[name[i]] {
			return false
		}
	}
	return true
}

// IsEphemeral reports whether name ends in "#ephemeral".
func IsEphemeral[T ~string | ~[]byte](name T) bool {
	n := len(name) - len(EphemeralSuffix)
	return n >= 0 && string(name[n:]) == EphemeralSuffix
}

var nameByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	t['.'], t['-'], t['_'] = true, true, true
	return t
}()

// maxHostLength is the longest host name in bytes.
const maxHostLength = 253

// ValidHost reports whether others can be told to connect to it: an IP address, one of IPv6 with brackets or without, or a host name of
// letters, digits, dashes, dots and underscores, which container names have.
func ValidHost(host string) bool {
	address := host
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if address, ok = strings.CutSuffix(inner, "]"); !ok {
			return false
		}
	}
	if _, err := netip.ParseAddr(address); err == nil {
		return true
	}
	if host == "" || len(host) > maxHostLength || host[0] == '-' {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if !nameByte[c] {
				return false
			}
		}
	}
	return true
}
