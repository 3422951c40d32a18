package child

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
)

// The range from which addresses are taken. Systems give out ports of their own from 32768 on, or later.
const (
	firstPort = 12000
	ports     = 18000
)

// lastPort is the last one that was given out in this process, counted from firstPort; it begins elsewhere in each process.
var lastPort atomic.Int64

// FreeAddress returns a loopback address that nobody listens on, that the system will not give to anybody by itself, and that
// this process has not given out before.
func FreeAddress() (string, error) {
	lastPort.CompareAndSwap(0, int64(os.Getpid())*100)
	var failed error
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+lastPort.Add(1)%ports))
		if err == nil {
			return listener.Addr().String(), listener.Close()
		}
		failed = errors.Join(failed, err)
	}
	return "", fmt.Errorf("find a free port: %w", failed)
}
