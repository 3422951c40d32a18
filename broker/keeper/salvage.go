package keeper

import "brokerd/broker/topic"

// stub makes topics known that only their segments name, when there is no checkpoint any more: what the log says of them finds them
// then, and Salvage what is in the segments.
func (k *Keeper) stub(v *topic.Recovery, s *sight) error {
	if s.checkpoint != "" || s.whole {
		return nil
	}
	ids, err := segmentFolders(k.o.FS, k.o.Dir)
	for _, id := range ids {
		store, _, _, err := segments{k}.Open(id, "")
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
			v.State.Stub(id, name, k.o.Listed[name])
		}
	}
	return err
}
