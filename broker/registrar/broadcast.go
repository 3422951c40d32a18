package registrar

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// resolveTimeout bounds how long the broadcast address is looked up.
const resolveTimeout = 5 * time.Second

// containerID is what container engines name a host after, and only that host knows.
var containerID = regexp.MustCompile("^[0-9a-f]{12}$")

// checkBroadcast warns once about a broadcast address that consumers on other hosts cannot use.
func (r *Registrar) checkBroadcast(ctx context.Context, lookups []string) {
	address := r.cfg.Info().BroadcastAddress
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	fault := r.broadcastFault(ctx, address, lookups)
	if fault == "" || r.ctx.Err() != nil {
		return
	}
	r.cfg.Logger.WarnContext(ctx, "consumers on other hosts will not find this broker: set --broadcast-address to a name or IP "+
		"address under which they reach this host", "broadcast_address", address, "because", fault)
}

// broadcastFault says what is wrong with the address, nothing when it may be right.
func (r *Registrar) broadcastFault(ctx context.Context, address string, lookups []string) string {
	if address == "" {
		return "it is empty, and lookups refuse that"
	}
	if containerID.MatchString(address) {
		return "it looks like a container's id, which only that container resolves"
	}
	ips := []string{address}
	if _, err := netip.ParseAddr(address); err != nil {
		if ips, err = r.cfg.Resolve(ctx, address); err != nil {
			return fmt.Sprintf("it does not resolve: %v", err)
		}
	}
	if all(ips, netip.Addr.IsUnspecified) {
		return "it is no address of a host"
	}
	if all(ips, netip.Addr.IsLoopback) && !slices.ContainsFunc(lookups, local) {
		return "it is this host's loopback, and no lookup is on this host"
	}
	return ""
}

func all(ips []string, is func(netip.Addr) bool) bool {
	return len(ips) > 0 && !slices.ContainsFunc(ips, func(s string) bool {
		ip, err := netip.ParseAddr(s)
		return err != nil || !is(ip)
	})
}

// local reports whether a lookup's address is plainly on this host.
func local(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || all([]string{host}, netip.Addr.IsLoopback))
}
