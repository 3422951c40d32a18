package tlsfiles

import (
	"crypto/x509"
	"errors"
	"fmt"

	"brokerd/protocol/wholefile"
)

// ErrNoCertificate is a file of authorities in which none was found.
var ErrNoCertificate = errors.New("holds no PEM certificate")

// Authorities reads a file of PEM certificates that others are checked against; nil for an empty path.
func Authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := wholefile.Read(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q %w", path, ErrNoCertificate)
	}
	return pool, nil
}
