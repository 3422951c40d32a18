package broker

import "syscall"

// The numbers of file systems that containers have as their own layer.
const (
	overlayFS = 0x794c7630
	aufs      = 0x61756673
)

// onContainerLayer reports whether a folder is on a container's own layer, which goes with the container. What cannot be found out is not.
func onContainerLayer(dir string) bool {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return false
	}
	kind := uint32(s.Type)
	return kind == overlayFS || kind == aufs
}
