package registrar

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"brokerd/protocol"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

// Channels asks the lookups which channels a topic has elsewhere, and returns all that any of them knows, sorted, without
// ephemeral ones. Lookups that fail are logged and left out. It takes as long as the slowest, bounded by the HTTP client's
// timeouts and ctx; before the first attempt to reach a lookup has come to something, it waits for that too, at most some
// seconds. Callers must not hold up a publisher meanwhile.
func (r *Registrar) Channels(ctx context.Context, topic string) []string {
	r.mu.Lock()
	peers, alone := slices.Clone(r.peers), r.aloneLocked()
	r.mu.Unlock()
	if alone {
		return nil
	}
	infos := r.identified(ctx, peers)
	if len(infos) == 0 {
		r.cfg.Logger.ErrorContext(ctx, "no lookup is reachable: channels that a new topic has elsewhere are not created",
			"topic", topic, "lookups", addresses(peers))
		return nil
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		list []string
	)
	for _, info := range infos {
		wg.Go(func() {
			channels := r.ask(ctx, info, topic)
			mu.Lock()
			defer mu.Unlock()
			list = append(list, channels...)
		})
	}
	wg.Wait()
	slices.Sort(list)
	return slices.Compact(list)
}

// Alone reports whether there is no lookup that Channels could ask. It waits for nothing.
func (r *Registrar) Alone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.aloneLocked()
}

func (r *Registrar) aloneLocked() bool { return len(r.peers) == 0 || !r.started }

// identified returns what the connected lookups said of themselves or, when none is connected, those that once were.
func (r *Registrar) identified(ctx context.Context, peers []*peer) []lookupwire.LookupInfo {
	var connected, known []lookupwire.LookupInfo
	for _, p := range peers {
		select {
		case <-p.tried:
		case <-ctx.Done():
		}
		p.mu.Lock()
		if p.connected {
			connected = append(connected, p.info)
		} else if p.known {
			known = append(known, p.info)
		}
		p.mu.Unlock()
	}
	if len(connected) == 0 {
		return known
	}
	return connected
}

// ask asks one lookup.
func (r *Registrar) ask(ctx context.Context, info lookupwire.LookupInfo, topic string) []string {
	scheme, port := "http", info.HTTPPort
	if r.cfg.TLS != nil { // then a token must not go over plain text
		scheme, port = "https", info.HTTPSPort
	}
	if port == 0 {
		r.cfg.Logger.WarnContext(ctx, "a lookup has no HTTPS to ask which channels a new topic has elsewhere; see its --https-address", "topic", topic)
		return nil
	}
	u := scheme + "://" + net.JoinHostPort(info.BroadcastAddress, strconv.Itoa(port)) + "/channels?topic=" + url.QueryEscape(topic)
	var answer httpapi.Channels
	if err := r.cfg.HTTP().Get(ctx, u, &answer); err != nil {
		r.cfg.Logger.WarnContext(ctx, "a lookup did not say which channels a new topic has elsewhere", "topic", topic, "error", err)
		return nil
	}
	return slices.DeleteFunc(answer.Channels, func(c string) bool { return !protocol.ValidName(c) || protocol.IsEphemeral(c) })
}
