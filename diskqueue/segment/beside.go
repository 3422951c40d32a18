package segment

import "fmt"

// ReadBeside loads what a block has beside its frames, as ReadSections does, and which positions it has; nil: all of them.
func (s *Store) ReadBeside(b Block) (list []Section, held []Run, err error) {
	if list, err = s.ReadSections(b.Ref); err != nil || b.Held == 0 {
		return list, nil, err
	}
	for _, section := range list {
		if section.Kind == sectionRuns {
			if runs, ok := parseRuns(section.Data, b); ok {
				return list, runs, nil
			}
		}
	}
	s.noteDamage(b.Ref.File)
	return nil, nil, fmt.Errorf("%w: runs of the block of %v", ErrDamaged, b.Ref)
}
