package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

// lackSegments notes which files of segments are not there, or too short, in which the checkpoint has messages that somebody needs, now
// that the log was applied. Their content was synced before the checkpoint had its name.
func (k *Engine) lackSegments(state *journal.State) (missing []string, err error) {
	for _, id := range slices.Sorted(keys(state.Topics)) {
		t := state.Topics[id]
		gone, err := k.goneFiles(id, t)
		if err != nil {
			return nil, err
		}
		needed := neededIn(t, gone)
		for _, number := range slices.Sorted(keys(needed)) {
			missing = append(missing, fmt.Sprintf("%s %s, with %d messages of topic %s that are needed or kept",
				filepath.Join(segments{k}.dir(id), segment.FileName(number)), gone[number], needed[number], t.Name))
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

// goneFiles returns the files of what a topic has in segments that are not there whole, or are another's, and what is wrong with them. Those that
// are kept as a whole, of which there may be very many, a start does not look into when they have the size that they had.
func (k *Engine) goneFiles(id uint32, t *journal.Topic) (map[uint32]string, error) {
	if len(t.Nodes)+len(t.Files) == 0 {
		return nil, nil
	}
	names, err := list(k.o.FS, segments{k}.dir(id))
	if err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	ends := map[uint32]int64{}
	for _, n := range t.Nodes {
		ends[n.File] = max(ends[n.File], segment.Ref{File: n.File, Offset: n.Offset, Length: n.Length}.End())
	}
	sizes := make(map[uint32]int64, len(t.Files))
	for i := range t.Files {
		f := &t.Files[i]
		ends[f.File], sizes[f.File] = int64(f.Size), int64(f.Size)
	}
	k.askSizes(id, slices.Collect(keys(ends)))
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
		wrong, err := k.wrongFile(id, number, end, sizes[number])
		if err != nil {
			return nil, fmt.Errorf("looking for segments: %w", err)
		}
		if wrong != "" {
			gone[number] = wrong
		}
	}
	return gone, nil
}

// segmentFile is a file of segments, of a topic.
type segmentFile struct{ topic, number uint32 }

// sizeOf returns the size of a file of segments. A start asks once, as there may be very many.
func (k *Engine) sizeOf(id, number uint32) (size int64, err error) {
	f := segmentFile{id, number}
	if size, known := k.sizes[f]; known {
		return size, nil
	}
	path := segments{k}.path(id, number)
	err = vfs.Retry(func() (err error) {
		size, err = k.o.FS.Size(path)
		return err
	})
	if err == nil && k.registry == nil {
		if k.sizes == nil {
			k.sizes = map[segmentFile]int64{}
		}
		k.sizes[f] = size
	}
	return size, err
}

// A start asks for the sizes of very many files together, so that a disk that has none of them in memory has several questions at a time.
const (
	manySizes = 1024
	sizeAsks  = 8
)

// askSizes asks for the sizes of files, if they are very many. What fails is asked for once more by who needs it.
func (k *Engine) askSizes(id uint32, numbers []uint32) {
	if len(numbers) < manySizes || k.registry != nil {
		return
	}
	sizes := make([]int64, len(numbers))
	var wg sync.WaitGroup
	for i := range sizeAsks {
		wg.Go(func() {
			for j := i; j < len(numbers); j += sizeAsks {
				size, err := k.o.FS.Size(segments{k}.path(id, numbers[j]))
				if sizes[j] = size; err != nil {
					sizes[j] = -1
				}
			}
		})
	}
	wg.Wait()
	if k.sizes == nil {
		k.sizes = make(map[segmentFile]int64, len(numbers))
	}
	for j, size := range sizes {
		if size >= 0 {
			k.sizes[segmentFile{id, numbers[j]}] = size
		}
	}
}

// asTheyWere returns those of some files that have the sizes that they had, and as far as they are looked into, are what they were.
func (k *Engine) asTheyWere(id uint32, files map[uint32]int64) (same map[uint32]int64, err error) {
	same = make(map[uint32]int64, len(files))
	for number, size := range files {
		is, err := k.sizeOf(id, number)
		whose := ""
		if err == nil && is == size && k.thorough() {
			whose, err = k.whose(id, number)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("looking for segments: %w", err)
		case is == size && whose == "":
			same[number] = size
		}
	}
	return same, nil
}

// thorough reports whether files are looked into whose size says that they are what they were: tools have the time.
func (k *Engine) thorough() bool { return k.o.Thorough || k.o.AcceptLoss }

// whose says whose a file of segments is when it is not what its name says, nothing when it is.
func (k *Engine) whose(id, number uint32) (string, error) {
	head, err := readHead(k.o.FS, filepath.Join(segments{k}.dir(id), segment.FileName(number)), segment.HeaderSize)
	if err != nil && k.o.AcceptLoss {
		return "", nil // what cannot be read of it is damage
	}
	if err != nil {
		return "", err
	}
	return segment.Foreign(head, number, k.folder.id, id), nil
}

// wrongFile says what is wrong with a file of segments that has content up to end, nothing when all looks right. One of exactly size bytes is
// not looked into by a start, as there may be very many; 0: none is.
func (k *Engine) wrongFile(id, number uint32, end, size int64) (wrong string, err error) {
	is, err := k.sizeOf(id, number)
	switch {
	case err != nil:
		return "", err
	case is < end:
		return fmt.Sprintf("is cut short (%d of at least %d bytes)", is, end), nil
	case is == size && !k.thorough():
		return "", nil
	}
	whose, err := k.whose(id, number)
	if err != nil || whose == "" {
		return "", err
	}
	if k.o.AcceptLoss { // else it would be called damaged for good
		k.unknown = append(k.unknown, filepath.Join(segments{k}.dir(id), segment.FileName(number)))
	}
	return "is another file (" + whose + ")", nil
}

// neededIn returns how many messages any channel needs, or the topic keeps, that are in files that are gone, by file; those of which none is needed are left out.
// Each channel is gone through once, whatever the number of files: it may have ten million messages deferred.
func neededIn(t *journal.Topic, gone map[uint32]string) map[uint32]int {
	var nodes []journal.Node // by their first positions
	for _, n := range t.Nodes {
		if _, is := gone[n.File]; is {
			nodes = append(nodes, n)
		}
	}
	for i := range t.Files {
		if _, is := gone[t.Files[i].File]; is {
			nodes = append(nodes, t.Files[i].Node)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	slices.SortFunc(nodes, func(a, b journal.Node) int { return cmp.Compare(a.First, b.First) })
	var need []journal.Range
	for _, c := range t.Channels {
		need = partsIn(need, c.Waiting, nodes)
		at := 0
		c.Out.Each(func(pos journal.Position, _ journal.Out) {
			for at < len(nodes) && nodes[at].End() <= pos {
				at++
			}
			if at == len(nodes) || pos < nodes[at].First {
				return
			}
			if k := len(need) - 1; k >= 0 && need[k].Last+1 == pos {
				need[k].Last = pos
				return
			}
			need = append(need, journal.Range{First: pos, Last: pos})
		})
	}
	if t.Floor > 0 {
		need = partsIn(need, []journal.Range{{First: t.Floor, Last: max(t.Floor, t.Next-1)}}, nodes)
	}
	slices.SortFunc(need, func(a, b journal.Range) int { return cmp.Compare(a.First, b.First) })
	return countIn(nodes, need)
}

// partsIn appends the parts of sorted ranges that are in sorted nodes.
func partsIn(dst, ranges []journal.Range, nodes []journal.Node) []journal.Range {
	for _, r := range ranges {
		i, _ := slices.BinarySearchFunc(nodes, r.First, func(n journal.Node, pos journal.Position) int { return cmp.Compare(n.End()-1, pos) })
		for ; i < len(nodes) && nodes[i].First <= r.Last; i++ {
			dst = append(dst, journal.Range{First: max(r.First, nodes[i].First), Last: min(r.Last, nodes[i].End()-1)})
		}
	}
	return dst
}

// countIn returns how many positions of sorted ranges, which may overlap, are in each file of sorted nodes.
func countIn(nodes []journal.Node, need []journal.Range) map[uint32]int {
	count := map[uint32]int{}
	next, at := journal.Position(0), 0 // all before next is counted
	for _, r := range need {
		for first := max(r.First, next); first <= r.Last; first = next {
			for at < len(nodes) && nodes[at].End() <= first {
				at++
			}
			if at == len(nodes) {
				return count
			}
			first = max(first, nodes[at].First)
			if next = min(r.Last+1, nodes[at].End()); next <= first {
				break // the rest of the range is before the next node
			}
			count[nodes[at].File] += int(next - first)
		}
	}
	return count
}
