package tofile

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compression is how files are packed; the zero value leaves them as they are.
type compression struct {
	suffix string // of the files' names
	// start returns a writer that packs one member into w, to be closed at its end.
	start func(w io.Writer) (member, error)
}

// member packs one complete stream; Reset begins the next with the same buffers.
type member interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// compression returns what the flags ask for; they have been checked.
func (o *options) compression() compression {
	switch {
	case o.gzip:
		return compression{".gz", func(w io.Writer) (member, error) { return gzip.NewWriterLevel(w, o.gzipLevel) }}
	case o.zstd:
		return compression{".zst", func(w io.Writer) (member, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(o.zstdLevel)), zstd.WithEncoderConcurrency(1))
		}}
	}
	return compression{}
}

// packer turns pieces of lines into pieces of a file.
type packer struct {
	compression
	writer member
	packed bytes.Buffer
}

// pack returns the piece as it is to be in the file. It is good until the next call.
func (p *packer) pack(piece []byte) ([]byte, error) {
	if p.start == nil {
		return piece, nil
	}
	p.packed.Reset()
	if p.writer == nil {
		writer, err := p.start(&p.packed)
		if err != nil {
			return nil, err
		}
		p.writer = writer
	} else {
		p.writer.Reset(&p.packed)
	}
	if _, err := p.writer.Write(piece); err != nil {
		return nil, err
	}
	if err := p.writer.Close(); err != nil {
		return nil, err
	}
	return p.packed.Bytes(), nil
}
