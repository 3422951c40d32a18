package broker

import (
	"crypto/md5"
	"hash/crc32"
	"os"

	"brokerd/protocol"
)

// Version is what brokerd tells its clients.
const Version = protocol.Version

// DefaultNodeID derives a node id from the host's name as nsqd does: CRC-32 (IEEE) of its MD5, modulo 1024.
func DefaultNodeID() int64 {
	sum := md5.Sum([]byte(hostname()))
	return int64(crc32.ChecksumIEEE(sum[:]) % 1024)
}

// hostname returns the host's name, or "localhost" when the system does not tell.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
