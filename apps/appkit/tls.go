package appkit

import (
	"crypto/tls"
	"flag"
	"fmt"

	"github.com/nsqio/go-nsq"

	"brokerd/protocol/tlsfiles"
)

// tlsFlags say what is shown to daemons that speak TLS, and whom a tool trusts.
type tlsFlags struct{ rootCA, cert, key string }

// The flags' names, which contexts have too.
const (
	flagRootCA  = "tls-root-ca-file"
	flagTLSCert = "tls-cert"
	flagTLSKey  = "tls-key"
)

func (f *tlsFlags) register(flags *flag.FlagSet) {
	flags.StringVar(&f.rootCA, flagRootCA, "", "PEM `file` of the authorities that daemons' certificates are checked against, in place of the system's")
	flags.StringVar(&f.cert, flagTLSCert, "", "PEM `file` of the certificate to show to daemons")
	flags.StringVar(&f.key, flagTLSKey, "", "PEM `file` of its key")
}

// config reads the files; nil when no flag says anything.
func (f *tlsFlags) config() (*tls.Config, error) {
	if *f == (tlsFlags{}) {
		return nil, nil
	}
	if (f.cert == "") != (f.key == "") {
		return nil, fmt.Errorf("--%s and --%s go together", flagTLSCert, flagTLSKey)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if c.RootCAs, err = tlsfiles.Authorities(f.rootCA); err != nil {
		return nil, fmt.Errorf("--%s: %w", flagRootCA, err)
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flagTLSCert, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// TLS is what daemons are spoken to with over TLS; nil when nothing was said, and the system's authorities count.
func (e *Env) TLS() *tls.Config { return e.tls }

// secure has go-nsq speak TLS with brokers that do, where flags say how. What --consumer-opt or --producer-opt says counts before.
func (e *Env) secure(config *nsq.Config) {
	if e.tls == nil || config.TlsV1 || config.TlsConfig != nil {
		return
	}
	config.TlsV1, config.TlsConfig = true, e.tls.Clone()
	if len(e.tls.Certificates) > 0 && config.AuthSecret == "" {
		config.AuthSecret = "certificate" // which is no secret: without any go-nsq gives up where AUTH is demanded
	}
}
