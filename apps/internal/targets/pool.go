package targets

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Mode is how a Pool chooses.
type Mode string

// The modes, as --mode names them.
const (
	RoundRobin    Mode = "round-robin"
	HostPool      Mode = "hostpool"
	EpsilonGreedy Mode = "epsilon-greedy"
	Multicast     Mode = "multicast"
)

// ParseMode returns the mode of a word if it is one of those allowed. The error names them.
func ParseMode(word string, allowed ...Mode) (Mode, error) {
	names := make([]string, len(allowed))
	for i, m := range allowed {
		if word == string(m) {
			return m, nil
		}
		names[i] = string(m)
	}
	return "", fmt.Errorf("--mode must be one of %s, not %q", strings.Join(names, ", "), word)
}

// How long a target that failed is left alone: go-hostpool's figures, which NSQ's tools have.
const (
	firstAside = 30 * time.Second
	maxAside   = 15 * time.Minute
)

// Pool is a list of targets. It is safe for concurrent use.
type Pool struct {
	mode Mode

	mu      sync.Mutex
	rng     *rand.Rand
	targets []target
	last    int     // the target that was chosen before
	epsilon float64 // probability of exploring
}

// target is one address with its state; guarded by Pool.mu.
type target struct {
	address string
	aside   bool // it failed, and has not worked since
	retry   time.Time
	pause   time.Duration // until the retry after next
	speed   window
	figures figures
}

// New returns a pool over at least one address. Samples is over how many results percentiles are taken, at least 1. The
// source decides what epsilon-greedy explores.
func New(mode Mode, addresses []string, samples int, source rand.Source) *Pool {
	p := &Pool{mode: mode, rng: rand.New(source), epsilon: firstEpsilon}
	for _, a := range addresses {
		p.targets = append(p.targets, target{address: a, figures: newFigures(samples)})
	}
	return p
}

// Len returns the number of targets.
func (p *Pool) Len() int { return len(p.targets) }

// Pick chooses the target of the next message, by its place in the list. Round-robin begins with the second, as NSQ's
// tools do.
func (p *Pool) Pick(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == EpsilonGreedy {
		if i, ok := p.greedyLocked(now); ok {
			p.triedLocked(i, now)
			return i
		}
	}
	return p.nextLocked(now)
}

// nextLocked goes round.
func (p *Pool) nextLocked(now time.Time) int {
	for step := range p.targets {
		i := (p.last + 1 + step) % len(p.targets)
		if p.mode == RoundRobin || p.targets[i].usable(now) {
			p.last = i
			p.triedLocked(i, now)
			return i
		}
	}
	for i := range p.targets {
		p.targets[i].aside = false
	}
	p.last = 0
	return 0
}

// triedLocked lets a target that is aside rest again, for twice as long, after this one try.
func (p *Pool) triedLocked(i int, now time.Time) {
	if t := &p.targets[i]; t.aside {
		t.pause = min(2*t.pause, maxAside)
		t.retry = now.Add(t.pause)
	}
}

// usable reports whether the target works, or may be tried again.
func (t *target) usable(now time.Time) bool { return !t.aside || !now.Before(t.retry) }

// Alternative chooses another target than those in tried, bit i standing for target i, among those that work; ok is false
// when there is none. It is for a message that just failed elsewhere; only the first 64 targets are considered.
func (p *Pool) Alternative(tried uint64, now time.Time) (i int, ok bool) {
	if p.mode != HostPool && p.mode != EpsilonGreedy {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for step := range p.targets {
		i := (p.last + 1 + step) % len(p.targets)
		if i < 64 && tried&(1<<i) == 0 && p.targets[i].usable(now) {
			p.last = i
			p.triedLocked(i, now)
			return i, true
		}
	}
	return 0, false
}

// Done takes note that a target took a batch of messages, 1 or more, in the given time.
func (p *Pool) Done(i, messages int, took time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.targets[i]
	t.aside = false
	if p.mode == EpsilonGreedy {
		t.speed.add(took, now)
	}
	t.figures.done(messages, took)
}

// Failed takes note that a target did not take a batch of messages, and why.
func (p *Pool) Failed(i, messages int, err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.targets[i]
	t.figures.failed(messages, err)
	if !t.aside {
		t.aside, t.pause = true, firstAside
		t.retry = now.Add(firstAside)
	}
}

// Refused takes note that a target works but does not want these messages. It is not put aside for that.
func (p *Pool) Refused(i, messages int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets[i].aside = false
	p.targets[i].figures.failed(messages, err)
}
