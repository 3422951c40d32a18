package topic

import (
	"errors"
	"fmt"
	"sync"

	"brokerd/broker/policy"
)

// Acks is when a publish is answered.
type Acks = policy.Acks

// ErrAcks is the refusal of a publish that asks for less than the topic's option acks_min allows.
var ErrAcks = errors.New("acks is less than acks_min of the topic allows")

// ParseAcks reads when a publish is to be answered: 0, 1 or all. It fails with an error that says what is allowed.
func ParseAcks(text string) (Acks, error) {
	a, err := policy.ParseAcks(text)
	if err != nil {
		return 0, fmt.Errorf("acks %w", err)
	}
	return a, nil
}

// TakesAcks returns ErrAcks when a publish may not ask for so little. At level memory all are answered alike, whatever they ask for.
func (t *Topic) TakesAcks(a Acks) error {
	if _, ok := t.policy.Load().Asked(a); !ok && t.d != nil {
		return ErrAcks
	}
	return nil
}

// trailing is publishes that were answered at once and are not known to be safe yet. A goroutine that lives as long as there are some waits
// for the disk in place of their publishers, shows them or takes them back.
type trailing struct {
	mu      sync.Mutex // guards what follows; only Registry.bg is locked under it
	list    []trailed
	size    int // bytes of frames, those that are waited for as well
	running bool
}

type trailed struct {
	topic *Topic
	size  int // bytes of its frames
	appended
}

// trailingBytes is how many bytes of publishes may be in doubt that were answered: those beyond it wait for the disk themselves.
const trailingBytes = 8 << 20

// trail has somebody else wait for a publish. It reports false when its publisher must do so.
func (r *Registry) trail(t *Topic, a *appended) bool {
	q := &r.trailing
	size := a.extent.Bytes()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.size+size > trailingBytes {
		return false
	}
	if !q.running && !r.spawn(r.settleTrailing) {
		return false
	}
	q.running = true
	q.list = append(q.list, trailed{t, size, *a})
	q.size += size
	return true
}

// settleTrailing waits for publishes until there are none.
func (r *Registry) settleTrailing() {
	q := &r.trailing
	var done []trailed
	for size := 0; ; {
		q.mu.Lock()
		q.size -= size
		clear(done)
		done, q.list = q.list, done[:0]
		if len(done) == 0 {
			q.running = false
			q.list = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		size = 0
		for i := range done {
			size += done[i].size
			r.settleOne(&done[i])
		}
	}
}

func (r *Registry) settleOne(p *trailed) {
	t, n := p.topic, p.count
	if err := t.d.finish(&p.appended, false, nil); err != nil {
		t.unkept.Add(uint64(n))
		r.log.Error("messages that were answered at once, as acks 0 asks for, were not kept", "topic", t.name, "messages", n, "error", err)
	}
}
