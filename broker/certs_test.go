package broker_test

import (
	"testing"

	"brokerd/broker"
	"brokerd/protocol/prototest"
)

// authority signs certificates for brokers of a test.
type authority struct {
	*prototest.Authority
	t testing.TB
}

func newAuthority(t testing.TB) *authority { return &authority{prototest.NewAuthority(t), t} }

// serve gives the broker a certificate of the authority, and the authority to judge clients by.
func (a *authority) serve(o *broker.Options) {
	o.TLSCert, o.TLSKey, o.TLSRootCAFile = a.Files("broker")
}
