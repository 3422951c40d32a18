package segment

import (
	"errors"
	"maps"
	"slices"
)

// nameSection returns the section with the topic's name, nothing when it has none.
func (s *Store) nameSection() []byte {
	if s.o.Name == "" {
		return nil
	}
	b, _ := appendSections(nil, []Section{{Kind: sectionName, Data: []byte(s.o.Name)}}) // a name of a topic is short
	return b
}

// Name returns the name of the topic whose files these are, as the newest one says that can be read; empty when none says it.
// It fails with what the file system says.
func (s *Store) Name() (string, error) {
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(s.files))) {
		if len(s.files[number].blocks) == 0 {
			continue
		}
		first := s.files[number].blocks[0]
		list, err := s.ReadSections(Ref{File: number, Offset: first.offset, Length: first.length})
		if err != nil && !errors.Is(err, ErrDamaged) {
			return "", err
		}
		for _, section := range list {
			if section.Kind == sectionName {
				return string(section.Data), nil
			}
		}
	}
	return "", nil
}
