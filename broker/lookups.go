package broker

import "context"

type lookups interface {
	Changed()
	Start()
	Close()
	SetAddresses([]string) error
	Channels(ctx context.Context, topic string) []string
}

type noLookups struct{}

func (noLookups) Changed()                                  {}
func (noLookups) Start()                                    {}
func (noLookups) Close()                                    {}
func (noLookups) SetAddresses([]string) error               { return nil }
func (noLookups) Channels(context.Context, string) []string { return nil }

func (s *Server) newRegistrar() error { s.registrar = noLookups{}; return nil }
