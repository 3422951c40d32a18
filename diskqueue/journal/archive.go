package journal

import "encoding/binary"

// File is a file of segments whose messages are only kept: nobody needs them. Its Node has no offset, and the length of all its frames.
type File struct {
	Node
	Size           uint32 // bytes of the file
	Oldest, Newest int64  // when its first and its last message came, Unix nanoseconds; 0: not known
	Low, High      uint64 // the lowest and the highest id in it; zeros: not known
}

// fileSize is the bytes of a File in a checkpoint.
const fileSize = 56

// files writes the files of a topic that are only kept.
func (w *Writer) files(list []File) {
	for i, f := range list {
		if i%maxOuts == 0 {
			w.begin(kindArchive)
		}
		w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(f.First))
		for _, v := range [...]uint32{f.Count, f.File, f.Length, f.Size} {
			w.buf = binary.BigEndian.AppendUint32(w.buf, v)
		}
		for _, v := range [...]uint64{uint64(f.Oldest), uint64(f.Newest), f.Low, f.High} {
			w.buf = binary.BigEndian.AppendUint64(w.buf, v)
		}
	}
}

// readFiles takes in a record of files.
func (t *Topic) readFiles(b []byte) {
	for ; len(b) > 0; b = b[fileSize:] {
		f := File{Node: Node{First: position(b), Count: binary.BigEndian.Uint32(b[8:]), File: binary.BigEndian.Uint32(b[12:]),
			Length: binary.BigEndian.Uint32(b[16:])}, Size: binary.BigEndian.Uint32(b[20:])}
		f.Oldest, f.Newest = int64(binary.BigEndian.Uint64(b[24:])), int64(binary.BigEndian.Uint64(b[32:]))
		f.Low, f.High = binary.BigEndian.Uint64(b[40:]), binary.BigEndian.Uint64(b[48:])
		t.Files = append(t.Files, f)
	}
}
