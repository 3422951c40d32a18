package storage

import (
	"fmt"
	"path/filepath"
	"slices"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

// lackSegments notes which files of segments are not there, or too short, in which the checkpoint has messages that somebody needs, now
// that the log was applied. Their content was synced before the checkpoint had its name.
func (k *Engine) lackSegments(state *journal.State) (missing []string, err error) {
	for _, id := range slices.Sorted(keys(state.Topics)) {
		t := state.Topics[id]
		gone, err := k.goneFiles(id, t.Nodes)
		if err != nil {
			return nil, err
		}
		for _, number := range slices.Sorted(keys(gone)) {
			var nodes []journal.Node
			for _, n := range t.Nodes {
				if n.File == number {
					nodes = append(nodes, n)
				}
			}
			if n := neededIn(t, nodes); n > 0 {
				missing = append(missing, fmt.Sprintf("%s %s, with %d messages of topic %s that are needed",
					filepath.Join(segments{k}.dir(id), segment.FileName(number)), gone[number], n, t.Name))
			}
		}
	}
	return missing, nil
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// goneFiles returns the files of nodes of a topic that are not there whole, or are another's, and what is wrong with them.
func (k *Engine) goneFiles(id uint32, nodes []journal.Node) (map[uint32]string, error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	names, err := list(k.o.FS, segments{k}.dir(id))
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	ends := map[uint32]int64{}
	for _, n := range nodes {
		ends[n.File] = max(ends[n.File], segment.Ref{File: n.File, Offset: n.Offset, Length: n.Length}.End())
	}
	gone := map[uint32]string{}
	for number, end := range ends {
		name := segment.FileName(number)
		if there[name+doneSuffix] {
			continue
		}
		if !there[name] {
			gone[number] = "is missing"
			continue
		}
		wrong, err := k.wrongFile(id, number, end)
		if err != nil {
			return nil, fmt.Errorf("looking for segments: %w", err)
		}
		if wrong != "" {
			gone[number] = wrong
		}
	}
	return gone, nil
}

// wrongFile says what is wrong with a file of segments that has content up to end, nothing when all looks right.
func (k *Engine) wrongFile(id, number uint32, end int64) (wrong string, err error) {
	path := filepath.Join(segments{k}.dir(id), segment.FileName(number))
	var size int64
	err = vfs.Retry(func() (err error) {
		size, err = k.o.FS.Size(path)
		return err
	})
	if err != nil {
		return "", err
	}
	if size < end {
		return fmt.Sprintf("is cut short (%d of at least %d bytes)", size, end), nil
	}
	head, err := readHead(k.o.FS, path, segment.HeaderSize)
	if err != nil {
		return "", err
	}
	whose := segment.Foreign(head, number, k.folder.id, id)
	if whose == "" {
		return "", nil
	}
	if k.o.AcceptLoss { // else it would be called damaged for good
		k.unknown = append(k.unknown, path)
	}
	return "is another file (" + whose + ")", nil
}

// neededIn returns how many messages of some nodes any channel needs.
func neededIn(t *journal.Topic, nodes []journal.Node) (n int) {
	var need []journal.Range
	for _, c := range t.Channels {
		need = append(need, c.Waiting...)
		c.Out.Each(func(pos journal.Position, _ journal.Out) { need = append(need, journal.Range{First: pos, Last: pos}) })
	}
	slices.SortFunc(need, func(a, b journal.Range) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	for _, node := range nodes {
		next := node.First // all before is counted
		end := node.First + journal.Position(node.Count)
		for _, r := range need {
			from, to := max(r.First, next), min(r.Last+1, end)
			if from < to {
				n += int(to - from)
				next = to
			}
		}
	}
	return n
}
