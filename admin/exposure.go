package admin

import (
	"fmt"
	"net"

	"brokerd/admin/access"
)

// warnings says what of the configuration lets in more people than one might think.
func warnings(way access.Way, bound net.Addr, trusted bool) []string {
	switch {
	case isLoopback(bound):
		return nil
	case way == access.Open:
		return []string{fmt.Sprintf("admind listens on %s and asks nobody to sign in: whoever reaches it can act. Use --users-file, "+
			"or --admin-user behind a proxy, or --token-file, or --http-address=127.0.0.1:4171", bound)}
	case way == access.Proxy && !trusted:
		return []string{fmt.Sprintf("admind listens on %s and believes every peer who it is: whoever reaches it past the proxy can act. "+
			"Use --trusted-proxy-cidr", bound)}
	}
	return nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// SetUser adds somebody to a file of users, or gives him another password and other roles: viewer, reader or operator, on all topics or, as in
// viewer,operator=orders.*, on some.
func SetUser(path, name, password, roles string) error {
	return access.SetUser(path, name, password, roles)
}
