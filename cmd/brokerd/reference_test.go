package main

import (
	"testing"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
)

func TestThePageOfSettingsIsWhatTheyAre(t *testing.T) {
	o := broker.DefaultOptions()
	cmdtest.Document(t, "docs/reference/brokerd.md", []byte(program(&o).Reference()))
}
