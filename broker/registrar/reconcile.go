package registrar

import (
	"cmp"
	"slices"

	"brokerd/protocol/lookupwire"
)

// Topic is one topic of the broker with its channels.
type Topic struct {
	Name     string
	Channels []string
}

// Source returns all topics and channels of the broker as they are now. The result is the registrar's to keep and sort.
type Source func() []Topic

// snapshot asks the source and sorts by name.
func (s Source) snapshot() []Topic {
	topics := s()
	slices.SortFunc(topics, func(a, b Topic) int { return cmp.Compare(a.Name, b.Name) })
	for _, t := range topics {
		slices.Sort(t.Channels)
	}
	return topics
}

// diff calls send with each command line that turns what a lookup has been told into what it is to know. Both are sorted by
// name.
func diff(told, want []Topic, send func(line []byte) error) error {
	return merge(told, want, func(t Topic) string { return t.Name },
		func(gone Topic) error {
			for _, c := range gone.Channels {
				if err := send(lookupwire.AppendUnregister(nil, gone.Name, c)); err != nil {
					return err
				}
			}
			return send(lookupwire.AppendUnregister(nil, gone.Name, ""))
		},
		func(added Topic) error {
			if len(added.Channels) == 0 {
				return send(lookupwire.AppendRegister(nil, added.Name, ""))
			}
			return diffChannels(added.Name, nil, added.Channels, send)
		},
		func(before, now Topic) error { return diffChannels(now.Name, before.Channels, now.Channels, send) })
}

func diffChannels(topic string, told, want []string, send func([]byte) error) error {
	return merge(told, want, func(c string) string { return c },
		func(gone string) error { return send(lookupwire.AppendUnregister(nil, topic, gone)) },
		func(added string) error { return send(lookupwire.AppendRegister(nil, topic, added)) },
		func(string, string) error { return nil })
}

// merge walks two sorted lists side by side and stops at the first error.
func merge[T any](told, want []T, name func(T) string, gone, added func(T) error, both func(before, now T) error) error {
	for len(told) > 0 || len(want) > 0 {
		order := 0
		switch {
		case len(told) == 0:
			order = 1
		case len(want) == 0:
			order = -1
		default:
			order = cmp.Compare(name(told[0]), name(want[0]))
		}
		var err error
		switch {
		case order < 0:
			err, told = gone(told[0]), told[1:]
		case order > 0:
			err, want = added(want[0]), want[1:]
		default:
			err, told, want = both(told[0], want[0]), told[1:], want[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}
