package targets

import "hash/fnv"

// Owner returns which of the addresses, by its index, a key belongs to: the same for the same set of addresses, in whatever order. When one is
// added or taken away only those keys move that it gets or had. There must be an address.
func Owner(key []byte, addresses []string) (owner int) {
	var most uint64
	for i, address := range addresses {
		h := fnv.New64a()
		h.Write([]byte(address))
		h.Write([]byte{0})
		h.Write(key)
		weight := mixed(h.Sum64())
		if i == 0 || weight > most || weight == most && address < addresses[owner] {
			owner, most = i, weight
		}
	}
	return owner
}

// mixed spreads a sum over all bits: those of texts that differ in their last letters only are close to each other.
func mixed(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
