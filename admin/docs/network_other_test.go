//go:build !linux

package docs

import "errors"

func newNetwork() error { return errors.New("only Linux gives one to a test") }
