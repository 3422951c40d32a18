package peer

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Send gives a frame to a peer. It waits for nothing. kind must be FirstFree or higher. It returns ErrNoLink,
// ErrFull, or ErrFrame; after nil the frame may still be lost with the connection.
func (n *Node) Send(folder string, lane Lane, kind Kind, stream uint32, payload ...[]byte) error {
	return n.send(soon, folder, lane, kind, stream, payload...)
}

// SendNow is Send of what somebody waits for at the other end: a small frame is written at once, without waiting.
func (n *Node) SendNow(folder string, lane Lane, kind Kind, stream uint32, payload ...[]byte) error {
	return n.send(now, folder, lane, kind, stream, payload...)
}

// SendLater is Send of what leaves with the next frame that does not, or with Beat. To wake somebody for each of many small frames costs more than they do.
func (n *Node) SendLater(folder string, lane Lane, kind Kind, stream uint32, payload ...[]byte) error {
	return n.send(later, folder, lane, kind, stream, payload...)
}

// Beat has all leave that waits for that, and measures now and then how far away peers are. It is to be called some times a second.
func (n *Node) Beat() {
	n.mu.Lock()
	links := slices.Collect(maps.Values(n.links))
	n.mu.Unlock()
	now := time.Now()
	for _, l := range links {
		l.beat(now)
	}
}

func (n *Node) send(leaves when, folder string, lane Lane, kind Kind, stream uint32, payload ...[]byte) error {
	if kind < FirstFree {
		return fmt.Errorf("%w: kind %d is the link's own", ErrFrame, kind)
	}
	l, err := n.link(folder, lane)
	if err != nil {
		return err
	}
	return l.send(leaves, kind, stream, payload...)
}

// SendPaced is Send for who may wait: it puts the frame behind so many bytes that wait to be sent, at most. It returns ErrNoLink, ErrFrame,
// net.ErrClosed when the link ends meanwhile, or ErrGivenUp once done is closed.
func (n *Node) SendPaced(done <-chan struct{}, folder string, lane Lane, most int, kind Kind, stream uint32, payload ...[]byte) error {
	return n.sendPaced(soon, done, folder, lane, most, kind, stream, payload...)
}

// SendFirst is SendPaced of what Options.BulkRate does not hold back.
func (n *Node) SendFirst(done <-chan struct{}, folder string, lane Lane, most int, kind Kind, stream uint32, payload ...[]byte) error {
	return n.sendPaced(first, done, folder, lane, most, kind, stream, payload...)
}

func (n *Node) sendPaced(leaves when, done <-chan struct{}, folder string, lane Lane, most int, kind Kind, stream uint32, payload ...[]byte) error {
	if kind < FirstFree {
		return fmt.Errorf("%w: kind %d is the link's own", ErrFrame, kind)
	}
	l, err := n.link(folder, lane)
	if err != nil {
		return err
	}
	return l.sendPaced(leaves, done, most, kind, stream, payload...)
}

// Pace returns once fewer than so many bytes wait to be sent. Its errors are those of SendPaced.
func (n *Node) Pace(done <-chan struct{}, folder string, lane Lane, most int) error {
	l, err := n.link(folder, lane)
	if err != nil {
		return err
	}
	if err = l.paceLocked(done, most); err == nil {
		l.mu.Unlock()
	}
	return err
}
