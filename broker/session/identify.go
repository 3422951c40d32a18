package session

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/s2"

	"brokerd/broker/bodies"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// defaultDeflateLevel is used when the client names none.
const defaultDeflateLevel = 6

// Sizes of the snappy framing format in bytes: a chunk holds 64 KiB of content at most, and encoders may need more than that for
// it, as much as snappy's own bound says, when they find nothing to compress and write it in short pieces.
const (
	snappyBlock   = 64 << 10
	snappyEncoded = 32 + snappyBlock + snappyBlock/6
)

func (s *Session) identify() error {
	if s.state.Load() != stateInit {
		return protocol.Errorf(protocol.CodeInvalid, "cannot IDENTIFY in current state")
	}
	body, err := s.readBody("IDENTIFY")
	if err != nil {
		return err
	}
	r, err := protocol.ParseIdentify(body, s.cfg.Limits)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.settings.apply(r)
	s.mu.Unlock()
	s.link.setHeartbeat(s.settings.heartbeat)
	s.setBatching()
	if !r.FeatureNegotiation {
		return s.out.frame(protocol.FrameResponse, protocol.OK)
	}
	return s.negotiate(r)
}

// negotiate answers IDENTIFY and upgrades the connection: TLS, then snappy or deflate inside it, an OK after each.
func (s *Session) negotiate(r *protocol.IdentifyRequest) error {
	answer := s.offer(r)
	if answer.Snappy && answer.Deflate {
		return protocol.Errorf(protocol.CodeIdentifyFailed, "cannot enable both deflate and snappy compression")
	}
	text, err := s.cfg.answers.text(answer)
	if err != nil {
		return protocol.Errorf(protocol.CodeIdentifyFailed, "IDENTIFY failed %s", err).Because(err)
	}
	if err := s.out.frame(protocol.FrameResponse, text); err != nil {
		return err
	}
	if err := s.out.flush(); err != nil {
		return err
	}
	if answer.TLSv1 {
		if err := s.upgradeTLS(); err != nil {
			return protocol.Errorf(protocol.CodeIdentifyFailed, "IDENTIFY failed %s", err).Because(err)
		}
	}
	if answer.Snappy || answer.Deflate {
		if err := s.upgradeCompression(answer); err != nil {
			return err
		}
	}
	return nil
}

// answers remembers the text of the last answer to IDENTIFY: clients mostly come in numbers and ask for the same.
type answers struct{ last atomic.Pointer[writtenAnswer] }

type writtenAnswer struct {
	answer protocol.IdentifyResponse
	text   string
}

// text returns the answer as JSON.
func (a *answers) text(answer protocol.IdentifyResponse) (string, error) {
	if last := a.last.Load(); last != nil && last.answer == answer {
		return last.text, nil
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return "", err
	}
	w := &writtenAnswer{answer, string(text)}
	a.last.Store(w)
	return w.text, nil
}

// offer composes the answer to IDENTIFY.
func (s *Session) offer(r *protocol.IdentifyRequest) protocol.IdentifyResponse {
	cfg, set := s.cfg, &s.settings
	// A second IDENTIFY cannot upgrade again: nothing says in which order the layers would stand.
	upgraded := set.tls || set.snappy || set.deflate
	level := defaultDeflateLevel
	if r.Deflate && cfg.Deflate && r.DeflateLevel > 0 {
		level = r.DeflateLevel
	}
	secures := cfg.TLS != nil && r.TLSv1 && !upgraded
	// Where TLS is required AUTH in clear is refused, but then the secret has been shown: who does not ask for TLS is not told to send it.
	demandsAuth := cfg.Auth != nil && cfg.Auth.Demanded() && (set.tls || secures || !cfg.TLSRequired)
	return protocol.IdentifyResponse{
		MaxRdyCount: cfg.MaxRdyCount, Version: cfg.Version,
		MaxMsgTimeout: cfg.Limits.MaxMsgTimeout.Milliseconds(), MsgTimeout: set.msgTimeout.Milliseconds(),
		TLSv1: secures, Deflate: cfg.Deflate && r.Deflate && !upgraded, DeflateLevel: min(level, cfg.MaxDeflateLevel),
		MaxDeflateLevel: cfg.MaxDeflateLevel, Snappy: cfg.Snappy && r.Snappy && !upgraded, SampleRate: set.sampleRate,
		AuthRequired: demandsAuth, OutputBufferSize: set.outputSize, OutputBufferTimeout: set.outputTimeout.Milliseconds(),
		TopologyRegion: cfg.TopologyRegion, TopologyZone: cfg.TopologyZone,
	}
}

// upgradeTLS makes the handshake. Until it succeeds errors go out in plain text.
func (s *Session) upgradeTLS() error {
	conn := tls.Server(s.link, s.cfg.TLS)
	s.link.interval = 0
	s.link.setDead(handshakeTimeout)
	err := conn.Handshake()
	s.link.setDead(0)
	s.link.setHeartbeat(s.settings.heartbeat)
	if err != nil {
		return err
	}
	state := conn.ConnectionState()
	s.mu.Lock()
	set := &s.settings
	set.tls, set.tlsVersion, set.cipherSuite = true, state.Version, state.CipherSuite
	set.tlsProtocol = state.NegotiatedProtocol
	if len(state.PeerCertificates) > 0 {
		set.tlsCommonName = state.PeerCertificates[0].Subject.CommonName
	}
	if len(state.VerifiedChains) > 0 {
		set.tlsNames = httpapi.NamesOf(state.VerifiedChains[0][0])
	}
	s.mu.Unlock()
	s.in.reset(conn)
	s.out.redirect(conn, nil)
	return s.acknowledge()
}

// upgradeCompression switches both directions to snappy or raw deflate.
func (s *Session) upgradeCompression(answer protocol.IdentifyResponse) error {
	src, dst := s.in.src, s.out.dst
	if answer.Snappy {
		s.out.redirect(dst, s2.NewWriter(dst, s2.WriterSnappyCompat(), s2.WriterBlockSize(snappyBlock), s2.WriterConcurrency(1)))
		s.in.reset(newSnappyReader(src))
	} else {
		s.out.redirect(dst, &deflater{dst: dst, level: answer.DeflateLevel})
		s.in.reset(flate.NewReader(src))
	}
	s.mu.Lock()
	s.settings.snappy, s.settings.deflate = answer.Snappy, answer.Deflate
	s.mu.Unlock()
	return s.acknowledge()
}

// newSnappyReader returns what takes every stream that nsqd takes. It sets a bound for what is encoded only along with the one for the
// content, of which it knows snappy's own. It reads the head of each chunk by itself: many short ones come in one read of the source.
func newSnappyReader(src io.Reader) io.Reader {
	return s2.NewReader(bufio.NewReader(src), s2.ReaderMaxBlockSize(snappyEncoded), s2.ReaderAllocBlock(snappyBlock))
}

func (s *Session) acknowledge() error {
	if err := s.out.frame(protocol.FrameResponse, protocol.OK); err != nil {
		return err
	}
	return s.out.flush()
}

// readBody reads the length and the body behind IDENTIFY and AUTH: a view that lives until the next call of input.
func (s *Session) readBody(command string) ([]byte, error) {
	n, err := s.in.size()
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadBody, "%s failed to read body size", command).Because(err)
	}
	if int64(n) > s.cfg.MaxBodySize {
		return nil, protocol.Errorf(protocol.CodeBadBody, "%s body too big %d > %d", command, n, s.cfg.MaxBodySize)
	}
	if n <= 0 {
		return nil, protocol.Errorf(protocol.CodeBadBody, "%s invalid body size %d", command, n)
	}
	if body := s.in.take(int(n)); body != nil {
		return body, nil
	}
	var body []byte
	s.beginArrival(int(n), 0)
	defer s.endArrival()
	if err := s.in.body(int(n), func(part []byte) {
		if len(body) > bodies.Free { // then it has been allowed
			body = slices.Grow(body, int(n)-len(body)) // once, to its end
		}
		body = append(body, part...)
		s.arrival.apart = len(body)
	}); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadBody, "%s failed to read body", command).Because(err)
	}
	return body, nil
}

// cipherName returns the name of a cipher suite as /stats shows it.
func cipherName(id uint16) string {
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.ID == id {
			return suite.Name
		}
	}
	return fmt.Sprintf("Unknown %d", id)
}

// tlsVersionName returns the name of a TLS version as /stats shows it.
func tlsVersionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLS1.0"
	case tls.VersionTLS11:
		return "TLS1.1"
	case tls.VersionTLS12:
		return "TLS1.2"
	case tls.VersionTLS13:
		return "TLS1.3"
	}
	return fmt.Sprintf("Unknown %d", v)
}
