package segment

import "errors"

var (
	// ErrClosed is returned once a store was closed or removed.
	ErrClosed = errors.New("segment: closed")
	// ErrGone means that nobody needed the block any more, and its file was given up.
	ErrGone = errors.New("segment: the block is gone")
	// ErrDamaged means that a message does not prove to be the one asked for, or cannot be read from the disk.
	ErrDamaged = errors.New("segment: the message is damaged")
	// ErrFrames means that Append was given something else than whole message frames, or not as many as it was told.
	ErrFrames = errors.New("segment: not the message frames that were announced")
	// ErrTooLarge means that a block is longer than a file can be, 4 GiB.
	ErrTooLarge = errors.New("segment: block too large")
)
