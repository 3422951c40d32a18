package tohttp

import (
	"slices"
	"sync"

	"github.com/nsqio/go-nsq"
)

// maxPartly is how many messages are remembered that only some targets took. Beyond it any is forgotten, and then goes to
// every target again.
const maxPartly = 10000

// delivered names a message: ids are unique at one broker only.
type delivered struct {
	broker string
	id     nsq.MessageID
}

// partly remembers which targets have taken a message that is not yet done. Its zero value is empty; it is safe for
// concurrent use, but not for one message.
type partly struct {
	mu sync.Mutex
	by map[delivered][]bool
}

// of returns, for each of n targets, whether it has the message; the caller may change it.
func (p *partly) of(m *nsq.Message, n int) []bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if has, ok := p.by[delivered{m.NSQDAddress, m.ID}]; ok {
		return slices.Clone(has)
	}
	return make([]bool, n)
}

// keep remembers what of returned, changed or not.
func (p *partly) keep(m *nsq.Message, has []bool) {
	if !slices.Contains(has, true) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil {
		p.by = make(map[delivered][]bool)
	}
	if len(p.by) >= maxPartly {
		for key := range p.by {
			delete(p.by, key)
			break
		}
	}
	p.by[delivered{m.NSQDAddress, m.ID}] = has
}

func (p *partly) forget(m *nsq.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by, delivered{m.NSQDAddress, m.ID})
}
