package member

import (
	"slices"
	"time"
)

// Clocks of members: the next leader of a group goes by its own for what is deferred, is to be tried again, or has a time to live.

// mostApart is by how much the clocks of two members may differ before that is told, and nearAgain within which they are one again.
const (
	mostApart = 250 * time.Millisecond
	nearAgain = 200 * time.Millisecond
)

// offset returns how far the clock of a member is ahead of this node's, at least: half the time of the way there and back may be of the way. ok is false while
// that is not known.
func (m *Member) offset(folder string) (d time.Duration, ok bool) {
	at := m.links.Distance(folder)
	if !at.Known {
		return 0, false
	}
	unsure := at.RoundTrip / 2
	switch {
	case at.Offset > unsure:
		return at.Offset - unsure, true
	case at.Offset < -unsure:
		return at.Offset + unsure, true
	}
	return 0, true
}

// watchClocks tells when the clock of a member begins to differ from this node's, and when it does no more. It is called by run.
func (m *Member) watchClocks() {
	m.mu.Lock()
	state := m.state
	m.mu.Unlock()
	if state == nil {
		return
	}
	for folder := range m.apart {
		if n, known := state.Nodes[folder]; !known || n.Candidate {
			m.setApart(folder, false)
		}
	}
	for folder, n := range state.Nodes {
		d, known := m.offset(folder)
		if folder == m.o.Folder || n.Candidate || !known {
			continue
		}
		switch by := d.Abs(); {
		case by > mostApart && !m.apart[folder]:
			m.setApart(folder, true)
			m.o.Log.Warn("the clock of another member of the cluster differs: by a leader's clock messages come that are deferred, to be tried again, or to expire",
				"peer", n.Name, "folder", folder, "ahead", d.Round(time.Millisecond))
		case by < nearAgain && m.apart[folder]:
			m.setApart(folder, false)
			m.o.Log.Info("the clock of another member of the cluster does not differ any more", "peer", n.Name, "folder", folder)
		}
	}
}

func (m *Member) setApart(folder string, is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if is {
		m.apart[folder] = true
	} else {
		delete(m.apart, folder)
	}
}

// clocksApart returns the members whose clocks differ.
func (m *Member) clocksApart() (folders []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for folder := range m.apart {
		folders = append(folders, folder)
	}
	slices.Sort(folders)
	return folders
}
