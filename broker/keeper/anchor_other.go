//go:build !linux

package keeper

// canPoll says that pollNothing is not there.
const canPoll = false

func pollNothing() {}
