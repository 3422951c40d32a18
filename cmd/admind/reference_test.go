package main

import (
	"testing"

	"brokerd/admin"
	"brokerd/cmd/cmdtest"
)

func TestThePageOfSettingsIsWhatTheyAre(t *testing.T) {
	o := admin.DefaultOptions()
	cmdtest.Document(t, "docs/reference/admind.md", []byte(program(&o).Reference()))
}
