package storage

import (
	"fmt"
	"path/filepath"
	"time"

	"brokerd/broker/topic"
)

// Unknown says what segments of topics that nobody knows hold: they are put aside.
type Unknown struct {
	Topic    uint32 // the number that it had in the log
	Messages int    // in blocks that can be read
	Damage   int    // places that cannot be
}

// UnknownSegments looks into the segments that will be put aside.
func (k *Engine) UnknownSegments(v *topic.Recovery) (list []Unknown, err error) {
	ids, err := segmentFolders(k.o.FS, k.o.Dir)
	for _, id := range ids {
		if v.State.Topics[id] != nil {
			continue
		}
		store, blocks, damage, err := segments{k}.Open(id, "", nil)
		if err != nil {
			return nil, err
		}
		u := Unknown{Topic: id, Damage: len(damage)}
		for _, b := range blocks {
			u.Messages += int(b.Count)
		}
		if err := store.Close(); err != nil {
			return nil, err
		}
		if u != (Unknown{Topic: id}) {
			list = append(list, u)
		}
	}
	return list, err
}

// SetAside moves a file of the data folder into set-aside/.
func (k *Engine) SetAside(name string) error { return k.aside.put(filepath.Join(k.o.Dir, name)) }

// Note writes a text for people into set-aside/.
func (k *Engine) Note(text string) error {
	return k.aside.note(fmt.Sprintf("repair-%s.txt", time.Now().UTC().Format("20060102-150405.000")), text)
}
