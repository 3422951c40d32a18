//go:build !linux

package storage

// canPoll says that pollNothing is not there.
const canPoll = false

func pollNothing() {}
