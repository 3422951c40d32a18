package topic

import (
	"fmt"
	"slices"
	"sync/atomic"

	"brokerd/broker/channel"
	"brokerd/broker/policy"
	"brokerd/protocol"
)

// Which of what a topic keeps is older than it is to be: nodes are asked from the front, a file of segments as a whole where its times are known.

// keptNode is a node with messages that are kept.
type keptNode struct {
	s      *stored
	end    Position
	size   int64  // of its frames
	frames []byte // nil when they are on disk
}

// kept returns the nodes with messages that are kept, in order, and the size of all their frames. What is not shown yet is left out: it may still
// be withdrawn. Only of nodes that may grow publishers wait.
func (t *Topic) kept() (list []keptNode, size int64) {
	floor := t.d.retain.from()
	if floor == 0 {
		return nil, 0
	}
	shown := t.d.shown()
	nodes := t.d.table.from(floor)
	closed := slices.IndexFunc(nodes, func(s *stored) bool { return !s.node.Closed() })
	if closed < 0 {
		closed = len(nodes)
	}
	list, size = keptNodes(nil, nodes[:closed], shown)
	t.pub.Lock()
	defer t.pub.Unlock()
	list, more := keptNodes(list, nodes[closed:], shown)
	return list, size + more
}

// keptLocked is kept for who holds Topic.pub.
func (t *Topic) keptLocked() (list []keptNode, size int64) {
	floor := t.d.retain.from()
	if floor == 0 {
		return nil, 0
	}
	return keptNodes(nil, t.d.table.from(floor), t.d.shown())
}

func keptNodes(list []keptNode, nodes []*stored, shown Position) ([]keptNode, int64) {
	size := int64(0)
	list = slices.Grow(list, len(nodes))
	for _, s := range nodes {
		n := keptNode{s: s, end: Position(s.end.Load())}
		if n.end > shown+1 {
			continue
		}
		if n.frames = s.node.Frames(); n.frames != nil {
			n.size = int64(len(n.frames))
		} else {
			n.size = int64(s.at().Ref.Length)
		}
		list = append(list, n)
		size += n.size
	}
	return list, size
}

// outdating looks for nodes that need not be kept any more.
type outdating struct {
	topic  *Topic
	policy *policy.Policy
	list   []keptNode // that are kept
	size   int64      // of them
	now    int64
	jumps  *channel.Jumps
	upTo   Position // what is kept begins there, 0: where it did
}

// old reports whether what came at a time is older than what is kept. By how much a clock was set since does not count, as far as that is known:
// history is not gone because a clock was wrong for a moment.
func (o *outdating) old(at int64) bool {
	return o.now-at-o.jumps.SinceStamp(at) > int64(o.policy.RetainTime)
}

// run goes over the first nodes that need not be kept any more. It may read the disk.
func (o *outdating) run() error {
	if err := o.enter(); err != nil {
		return err
	}
	p := o.policy
	for len(o.list) > 0 {
		first := &o.list[0]
		file := first.s.isFile()
		goes := p.RetainBytes > 0 && o.size > p.RetainBytes
		some := goes
		if file {
			goes = goes && o.size-first.size >= p.RetainBytes
		}
		if !goes && p.RetainTime > 0 {
			at, err := o.topic.firstTime(first)
			if err == nil && o.old(at) {
				some = true
				goes, err = o.allOld()
			}
			if err != nil {
				return err
			}
		}
		switch {
		case goes:
			o.size -= first.size
			o.upTo = first.end
			o.list = o.list[1:]
		case !file || !some:
			return nil
		default:
			if some, err := o.open(); err != nil || !some {
				return err
			}
		}
	}
	return nil
}

// enter sees to it that the first node is not a file that is kept in part only.
func (o *outdating) enter() error {
	if floor := o.topic.d.retain.from(); len(o.list) == 0 || !o.list[0].s.isFile() || o.list[0].s.first >= floor {
		return nil
	}
	_, err := o.open()
	return err
}

// open puts the pieces of the first node, which is a file, in its place, but for those that are not kept any more. It reports whether there
// are some.
func (o *outdating) open() (some bool, err error) {
	pieces, err := o.topic.pieces(o.list[0].s)
	if err != nil {
		return false, err
	}
	o.size -= o.list[0].size
	floor := max(o.upTo, o.topic.d.retain.from())
	var list []keptNode
	for _, s := range pieces {
		if n := (keptNode{s: s, end: Position(s.end.Load()), size: int64(s.at().Ref.Length)}); n.end > floor {
			list = append(list, n)
			o.size += n.size
		}
	}
	o.list = append(list, o.list[1:]...)
	return len(list) > 0, nil
}

// allOld reports whether all messages of the first node are older than what is kept. When those of the next one are, which is read with
// little of the disk, these are.
func (o *outdating) allOld() (bool, error) {
	t := o.topic
	if len(o.list) > 1 {
		if next, err := t.firstTime(&o.list[1]); err != nil || o.old(next) {
			return err == nil, err
		}
	}
	newest, err := t.newestTime(&o.list[0])
	return err == nil && o.old(newest), err
}

// firstTime returns when the first message of a node came.
func (t *Topic) firstTime(n *keptNode) (int64, error) {
	if at := n.s.oldest.Load(); at != 0 {
		return at, nil
	}
	if n.frames != nil {
		at := protocol.FirstMessage(n.frames).Timestamp()
		n.s.oldest.Store(at)
		return at, nil
	}
	if n.s.isFile() {
		return t.timeOfFile(n.s, &n.s.oldest, t.firstTime, func(list []*stored) *stored { return list[0] })
	}
	block := n.s.at()
	if n.s.held.Load() != nil {
		if f := t.frameHeld(n.s, 0, n.s.first); f != nil {
			n.s.oldest.Store(f.Timestamp())
			return f.Timestamp(), nil
		}
	} else if block.Held == 0 && n.s.onDisk.Load() {
		if f, err := t.d.segments.ReadFrame(block.Ref, 0, block.First, nil); err == nil {
			n.s.oldest.Store(f.Timestamp())
			return f.Timestamp(), nil
		}
	}
	if _, err := t.newestTime(n); err != nil { // the first one is damaged, or is not there
		return 0, err
	}
	return n.s.oldest.Load(), nil
}

// newestTime returns when the last message of a node came.
func (t *Topic) newestTime(n *keptNode) (int64, error) {
	if at := n.s.newest.Load(); at != 0 {
		return at, nil
	}
	if n.s.isFile() {
		return t.timeOfFile(n.s, &n.s.newest, t.newestTime, func(list []*stored) *stored { return list[len(list)-1] })
	}
	frames := n.frames
	if frames == nil {
		node, err := t.loadNode(n.s)
		if err != nil {
			return 0, fmt.Errorf("reading when messages came: %w", err)
		}
		frames = node.frames
	}
	oldest, newest := times(frames)
	if newest == 0 { // nothing in it can be read: it is as old as can be
		oldest, newest = 1, 1
	}
	n.s.oldest.Store(oldest)
	if n.s != t.appendsTo() {
		n.s.newest.Store(newest)
	}
	return newest, nil
}

// timeOfFile returns a time of a file, which is that of one of its pieces, and remembers it.
func (t *Topic) timeOfFile(s *stored, known *atomic.Int64, of func(*keptNode) (int64, error), which func([]*stored) *stored) (int64, error) {
	list, err := t.pieces(s)
	if err != nil || len(list) == 0 || list[0] == s { // it has left, or was written anew
		return 1, err
	}
	at, err := of(&keptNode{s: which(list)})
	if err == nil {
		known.Store(at)
	}
	return at, err
}

// appendsTo returns the node that may still grow.
func (t *Topic) appendsTo() *stored {
	t.pub.Lock()
	defer t.pub.Unlock()
	return t.d.tail
}

// times returns when the first and the newest of some messages came, zeros when there are none.
func times(frames []byte) (oldest, newest int64) {
	for len(frames) > 0 {
		m := protocol.FirstMessage(frames)
		frames = frames[len(m):]
		if oldest == 0 {
			oldest = m.Timestamp()
		}
		newest = max(newest, m.Timestamp())
	}
	return oldest, newest
}
