//go:build !unix && !windows

package ship

import "os"

// identify cannot tell files apart here: their first bytes do.
func identify(os.FileInfo) identity { return identity{} }
