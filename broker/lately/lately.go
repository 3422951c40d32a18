package lately

import (
	"sync"
	"time"
)

// Within is for how long something is remembered.
const Within = 30 * time.Second

// Set is what was done lately. Its zero value is empty; its methods are safe for concurrent use.
type Set struct {
	mu    sync.Mutex // guards what follows
	done  map[string]time.Time
	clean time.Time // when it was last looked for what is too long ago
}

// Add notes that something was done now.
func (s *Set) Add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.done == nil {
		s.done = map[string]time.Time{}
	}
	if now.Sub(s.clean) > Within { // so that many at once are not looked at for each
		for other, at := range s.done {
			if now.Sub(at) > Within {
				delete(s.done, other)
			}
		}
		s.clean = now
	}
	s.done[what] = now
}

// Has reports whether something was done lately.
func (s *Set) Has(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.done[what]
	return ok && time.Since(at) <= Within
}
