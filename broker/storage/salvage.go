package storage

import (
	"slices"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
)

// stub makes topics known that only the list of topics or their segments name, when there is no checkpoint any more: what the log says of
// them finds them then, and Salvage what is in the segments.
func (k *Engine) stub(v *topic.Recovery, s *sight) error {
	if s.checkpoint != "" || s.whole {
		return nil
	}
	for _, l := range k.o.Listed {
		if l.ID != 0 {
			v.State.Stub(l.ID, l.Name, l)
		}
	}
	ids, err := segmentFolders(k.o.FS, k.o.Dir)
	for _, id := range ids {
		if v.State.Topics[id] != nil {
			continue
		}
		store, _, _, err := segments{k}.Open(id, "", nil)
		if err != nil {
			return err
		}
		name, err := store.Name()
		if err != nil {
			return err
		}
		if err := store.Close(); err != nil {
			return err
		}
		if name != "" {
			v.State.Stub(id, name, k.listed(name))
		}
	}
	return err
}

// listed returns what the list of topics says of a topic, without its number, nil when it does not name it.
func (k *Engine) listed(name string) *journal.Topic {
	i := slices.IndexFunc(k.o.Listed, func(t *journal.Topic) bool { return t.Name == name && t.ID == 0 })
	if i < 0 {
		return nil
	}
	return k.o.Listed[i]
}
