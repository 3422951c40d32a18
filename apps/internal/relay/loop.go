package relay

import (
	"context"
	"fmt"
	"net"
	"slices"
)

// refusal is the reason why a topic is never relayed.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// checkLoop refuses a route whose messages would come back to it: published to a broker that it consumes from, under its
// own name or under one that the pattern adopts in turn. Brokers are compared by their addresses, so a loop over two names
// that lead to one machine by different ways is not seen.
func (r *relay) checkLoop(ctx context.Context, topic, destination string) error {
	found := len(r.opts.topics) == 0 // topics are adopted as they come up
	if destination != topic && !(found && r.plan.pattern.MatchString(destination)) {
		return nil
	}
	sources := r.opts.consumer.NSQDs
	if len(r.opts.consumer.Lookups) > 0 {
		nodes, err := r.lookups.Nodes(ctx)
		if err != nil {
			r.env.Log.Warn("not every lookup told its brokers", "error", err)
		}
		for _, n := range nodes {
			sources = append(sources, n.TCPAddress())
		}
	}
	for _, address := range sources {
		for _, target := range r.opts.addresses {
			if same(ctx, address, target) {
				return &refusal{fmt.Errorf("topic %s would be relayed to itself: %s is published to %s, which is among the sources",
					topic, destination, target)}
			}
		}
	}
	return nil
}

// same reports whether two addresses name the same port of the same machine.
func same(ctx context.Context, a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB {
		return a == b
	}
	if hostA == hostB {
		return true
	}
	ipsA, errA := net.DefaultResolver.LookupHost(ctx, hostA)
	ipsB, errB := net.DefaultResolver.LookupHost(ctx, hostB)
	if errA != nil || errB != nil {
		return false
	}
	return slices.ContainsFunc(ipsA, func(ip string) bool { return slices.Contains(ipsB, ip) })
}
