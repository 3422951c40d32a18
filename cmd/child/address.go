package child

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// The ports from which addresses are taken, in blocks. Systems give out ports of their own from 32768 on, or later.
const (
	firstPort = 12000
	blocks    = 300
	blockSize = 60
)

// addresses is the block that this process takes ports from. Its first port, as one of UDP, is held as long as the process lives: so no two
// processes take ports from one block, also where one of them has not begun to listen yet.
var addresses struct {
	mu   sync.Mutex
	held []block
	of   int // index in held
	next int // port in that block; 0: there is no block yet
}

type block struct {
	first int // port
	held  net.PacketConn
}

// FreeAddress returns a loopback address that nobody listens on, that the system will not give to anybody by itself, and that
// no other process that asks here has been given. This process is given it again only when there are no others.
func FreeAddress() (string, error) {
	a := &addresses
	a.mu.Lock()
	defer a.mu.Unlock()
	var failed error
	for range 2 * blockSize {
		if a.next == 0 || a.next == blockSize {
			if err := takeBlock(); err != nil {
				return "", err
			}
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", a.held[a.of].first+a.next))
		a.next++
		if err == nil {
			return listener.Addr().String(), listener.Close()
		}
		failed = errors.Join(failed, err)
	}
	return "", fmt.Errorf("find a free port: %w", failed)
}

// takeBlock takes a block that nobody has. Processes begin to look at different ones.
func takeBlock() error {
	var failed error
	for i := range blocks {
		first := firstPort + (os.Getpid()+i)%blocks*blockSize
		c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", first))
		if err == nil {
			addresses.held = append(addresses.held, block{first, c})
			addresses.of, addresses.next = len(addresses.held)-1, 1
			return nil
		}
		failed = err
	}
	if len(addresses.held) > 0 {
		addresses.of, addresses.next = (addresses.of+1)%len(addresses.held), 1
		return nil
	}
	return fmt.Errorf("find free ports: all blocks from %d on are taken: %w", firstPort, failed)
}
