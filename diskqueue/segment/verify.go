package segment

import (
	"encoding/binary"

	"brokerd/protocol"
)

// Lost is a run of messages of a block that cannot be read.
type Lost = Run

// searchBudget bounds the bytes over which sums are made in search of the next good message, in lengths of the block. Bodies
// would have to be made for it to use it up; the rest of the block is lost then.
const searchBudget = 64

// verifier turns the messages of one block as they are on disk into frames, in place.
type verifier struct {
	b      []byte // read up to at; b[:out] is what proved, as in memory
	at     int
	out    int
	start  uint32
	first  uint64 // of the block
	seq    uint64 // of the message that should be at b[at:]
	end    uint64 // behind the last of the block
	budget int
	lost   []Lost
}

// verify makes frames of the messages of block b, whose bytes on disk are in mem, and moves them together where some are
// missing. It returns the frames and which messages they lack.
func verify(b Block, mem []byte) ([]byte, []Lost) {
	v := verifier{
		b: mem, start: start(b.Ref.File, b.Ref.Offset),
		first: b.First, seq: b.First, end: b.First + uint64(b.Count), budget: searchBudget * len(mem),
	}
	for v.seq < v.end {
		if f := v.take(v.at); f != nil {
			v.keep(f)
			continue
		}
		v.skip()
	}
	return v.b[:v.out], v.lost
}

// keep appends a frame that was taken at v.at to the result.
func (v *verifier) keep(f []byte) {
	if v.out != v.at {
		copy(v.b[v.out:], f)
	}
	v.at += len(f)
	v.out += len(f)
	v.seq++
}

// take returns the frame at b[at:] when it proves to be the message v.seq, else nil.
func (v *verifier) take(at int) []byte {
	f := frameAt(v.b, at)
	if f == nil || proves(f, v.start) != uint32(v.seq) {
		return nil
	}
	setType(f)
	return f
}

// proves returns the lower half of the sequence number that a frame on disk proves to have, any number if it is damaged.
func proves(f []byte, start uint32) uint32 {
	sum := binary.BigEndian.Uint32(f[offsetSum:])
	setType(f)
	seq := messageSum(f, start, 0) ^ sum
	binary.BigEndian.PutUint32(f[offsetSum:], sum)
	return seq
}

func setType(f []byte) { binary.BigEndian.PutUint32(f[offsetSum:], uint32(protocol.FrameMessage)) }

// skip gives up the message v.seq, and with it all before the next one that proves.
func (v *verifier) skip() {
	at, seq := v.next()
	v.lost = append(v.lost, Lost{First: v.seq, Count: uint32(seq - v.seq)})
	v.at, v.seq = at, seq
}

// next finds the message behind the damaged one at v.at: where its size says, and else wherever there is one of those that
// are still to come.
func (v *verifier) next() (at int, seq uint64) {
	if f := frameAt(v.b, v.at); f != nil && v.seq+1 < v.end {
		behind := v.at + len(f)
		if g := frameAt(v.b, behind); g != nil && proves(g, v.start) == uint32(v.seq+1) {
			return behind, v.seq + 1
		}
	}
	for at := v.at + minFrame; v.budget > 0; at++ {
		if len(v.b)-at < minFrame {
			break
		}
		if seq, ok := v.found(at); ok {
			return at, seq
		}
	}
	return len(v.b), v.end
}

// found reports whether the bytes at b[at:] prove to be a message of those behind v.seq, and which. That a sum fits by
// chance is the less likely as the id must be one and exactly the last message ends the block.
func (v *verifier) found(at int) (seq uint64, ok bool) {
	f := frameAt(v.b, at)
	if f == nil {
		return 0, false
	}
	if _, ok := protocol.ParseMessageID(f[offsetID:minFrame]); !ok {
		return 0, false
	}
	v.budget -= len(f)
	seq = v.first + uint64(proves(f, v.start)-uint32(v.first))
	isLast := at+len(f) == len(v.b)
	return seq, seq > v.seq && seq < v.end && isLast == (seq == v.end-1)
}

// verifyRuns is verify for a block that has messages of some positions only.
func verifyRuns(b Block, runs []Run, mem []byte) (frames []byte, lost []Lost) {
	from, at, out := start(b.Ref.File, b.Ref.Offset), 0, 0
	lose := func(seq uint64) {
		if k := len(lost) - 1; k >= 0 && lost[k].First+uint64(lost[k].Count) == seq {
			lost[k].Count++
			return
		}
		lost = append(lost, Lost{seq, 1})
	}
	for _, r := range runs {
		for seq := r.First; seq < r.First+uint64(r.Count); seq++ {
			f := frameAt(mem, at)
			if f == nil { // nothing says where the next one begins
				at = len(mem)
				lose(seq)
				continue
			}
			at += len(f)
			if proves(f, from) != uint32(seq) {
				lose(seq)
				continue
			}
			setType(f)
			out += copy(mem[out:], f)
		}
	}
	return mem[:out], lost
}
