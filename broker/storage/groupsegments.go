package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"brokerd/broker/topic"
	"brokerd/diskqueue/segment"
)

// Segments of the topics of a group of replicas: segments/gGG.NNN/TOPIC, where GG is the group, NNN the generation, and TOPIC the number of the topic
// in the group. Which generation is in use, and which blocks, says the checkpoint of the group; what that does not name is of no use to anybody.

// groupTopic is who the files of a topic of a group belong to: numbers of other topics have nothing in these bits.
func groupTopic(group, number uint32) uint32 { return group<<24 ^ number }

// GroupSegments returns the segments of a group of replicas.
func (k *Engine) GroupSegments(group uint32) topic.GroupSegments { return groupSegments{k, group} }

type groupSegments struct {
	k     *Engine
	group uint32
}

func (g groupSegments) dir(generation uint32) string {
	return filepath.Join(g.k.o.Dir, segmentsFolder, groupFolderName(g.group, generation))
}

func groupFolderName(group, generation uint32) string {
	return fmt.Sprintf("g%02d.%03d", group, generation)
}

func (g groupSegments) Open(generation, number uint32, name string) (*segment.Store, []segment.Block, error) {
	dir := filepath.Join(g.dir(generation), strconv.FormatUint(uint64(number), 10))
	store, list, damage, err := segment.Open(segment.Options{FS: g.k.o.FS, Dir: dir, FileSize: g.k.o.SegmentSize, Log: g.k.o.Log,
		Folder: g.k.folder.id, Topic: groupTopic(g.group, number), Name: name, Aside: g.k.aside.put})
	for _, d := range damage {
		g.k.o.Log.Error("damage on disk", "group", g.group, "topic", name, "where", d.String())
	}
	return store, list, err
}

func (g groupSegments) Generations() (list []uint32, err error) {
	return list, eachName(g.k.o.FS, filepath.Join(g.k.o.Dir, segmentsFolder), func(name string) error {
		if group, generation, ok := groupFolder(name); ok && group == g.group {
			list = append(list, generation)
		}
		return nil
	})
}

func (g groupSegments) New() (uint32, error) {
	list, err := g.Generations()
	if err != nil {
		return 0, err
	}
	generation := slices.Max(append(list, 0)) + 1
	return generation, g.k.o.FS.MkdirAll(g.dir(generation))
}

func (g groupSegments) Room(n int) error { return g.k.roomBeside(int64(n)) }

func (g groupSegments) Topics(generation uint32) (list []uint32, err error) {
	return list, eachName(g.k.o.FS, g.dir(generation), func(name string) error {
		if n, ok := topicNumber(name); ok {
			list = append(list, n)
		}
		return nil
	})
}

func (g groupSegments) Remove(generation uint32) error {
	list, err := g.Topics(generation)
	for _, number := range list {
		store, _, openErr := g.Open(generation, number, "")
		if openErr == nil {
			openErr = store.RemoveAll()
		}
		err = errors.Join(err, openErr)
	}
	if err != nil {
		return err
	}
	if err := g.k.o.FS.Remove(g.dir(generation)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return g.k.o.FS.SyncDir(filepath.Join(g.k.o.Dir, segmentsFolder))
}

// groupFolder says which generation of a group a folder of segments is.
func groupFolder(name string) (group, generation uint32, ok bool) {
	head, tail, ok := strings.Cut(name, ".")
	digits, is := strings.CutPrefix(head, "g")
	g, bad := strconv.ParseUint(digits, 10, 32)
	n, worse := strconv.ParseUint(tail, 10, 32)
	return uint32(g), uint32(n), ok && is && bad == nil && worse == nil && groupFolderName(uint32(g), uint32(n)) == name
}
