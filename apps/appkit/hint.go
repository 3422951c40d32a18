package appkit

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// probeTimeout bounds how long it takes to find out why an address does not answer as it should.
const probeTimeout = 10 * time.Second

// WrongPortError says that an address is the port of another protocol, so that trying again is of no use.
type WrongPortError struct {
	Address string
	Err     error // what came of it
}

// Error says which port it is, and which it should be.
func (e *WrongPortError) Error() string {
	return fmt.Sprintf("%v: %s answers HTTP: that is a port for --nsqd-http-address; messages go over the broker's TCP port, 4150 where "+
		"nothing else was said", e.Err, e.Address)
}

// Unwrap returns what came of it.
func (e *WrongPortError) Unwrap() error { return e.Err }

// ExplainTCP returns err, which came of speaking NSQ's TCP protocol to a broker, as a
// *WrongPortError when the address answers HTTP.
func ExplainTCP(ctx context.Context, address string, err error) error {
	if err == nil || !answersHTTP(ctx, address) {
		return err
	}
	return &WrongPortError{address, err}
}

// answersHTTP reports whether somebody speaks HTTP at an address.
func answersHTTP(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, BaseURL(address)+"/ping", nil)
	if err != nil {
		return false
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close() // nobody reads it
	return true
}
