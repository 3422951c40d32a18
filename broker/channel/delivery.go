package channel

import "brokerd/protocol"

// Run is bytes to send: whole message frames, which stay valid and must not be changed.
type Run struct {
	Frames   []byte
	Attempts uint16 // when above 0 there is one frame, and its delivery count must read so
}

// Delivery is what Take fills. Its memory is reused.
type Delivery struct {
	Runs []Run
	N    int // messages
}

// Clear forgets the frames, so that they can go.
func (d *Delivery) Clear() {
	clear(d.Runs)
	d.Runs, d.N = d.Runs[:0], 0
}

// add appends a frame, to the last run when it follows that in memory.
func (d *Delivery) add(f protocol.MessageFrame) {
	d.N++
	if k := len(d.Runs) - 1; k >= 0 && d.Runs[k].Attempts == 0 {
		last := d.Runs[k].Frames
		if n := len(last); cap(last) > n && &last[:n+1][n] == &f[0] {
			d.Runs[k].Frames = last[:n+len(f)]
			return
		}
	}
	d.Runs = append(d.Runs, Run{Frames: f})
}

// addAgain adds a frame whose number of attempts is another than it says, unless it is the same.
func (d *Delivery) addAgain(f protocol.MessageFrame, attempts uint16) {
	if attempts == 1 && f.Attempts() == 1 { // it has waited for the turn of its key
		d.add(f)
		return
	}
	d.N++
	d.Runs = append(d.Runs, Run{Frames: f, Attempts: attempts})
}
