package session

import (
	"io"

	"github.com/klauspost/compress/flate"
)

// deflateSmall is how many bytes between two flushes are compressed without a compressor, which takes more than a megabyte.
const deflateSmall = 4 << 10

// deflater compresses one connection's output. Until more than deflateSmall bytes are written at once, as to a consumer that gets messages,
// it has no compressor of its own: answers and heartbeats need none, and whoever only connects is to cost little.
type deflater struct {
	dst   io.Writer
	level int    // 1 to 9
	small []byte // not compressed yet; empty once there is a compressor
	w     *flate.Writer
}

// Write takes p, which is sent with the next Flush at the latest.
func (d *deflater) Write(p []byte) (int, error) {
	if d.w == nil && len(d.small)+len(p) <= deflateSmall {
		d.small = append(d.small, p...)
		return len(p), nil
	}
	if d.w == nil {
		w, err := flate.NewWriter(d.dst, d.level) // what was flushed before ends at a byte
		if err != nil {
			return 0, err
		}
		d.w = w
		if _, err := d.w.Write(d.small); err != nil {
			return 0, err
		}
		d.small = nil
	}
	return d.w.Write(p)
}

// Flush sends all that was written, so that the peer can read it.
func (d *deflater) Flush() error {
	if d.w != nil {
		return d.w.Flush()
	}
	small := d.small
	d.small = d.small[:0]
	return flate.StatelessDeflate(d.dst, small, false, nil)
}
