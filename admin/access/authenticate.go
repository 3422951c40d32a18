package access

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"brokerd/protocol/grant"
)

// Way is how people sign in.
type Way string

// The ways.
const (
	Open  Way = "none"
	Users Way = "users"
	Proxy Way = "proxy"
)

// Config is what a Guard is told. With neither a file nor somebody whom a proxy signs in everybody is an operator.
type Config struct {
	UsersFile string      // way Users
	Tokens    *grant.File // callers that show a token or a certificate, and what anonymous may; nil for none

	Operators []string                // way Proxy: who may act
	Viewers   []string                // who else may see; empty for everybody
	Roles     map[string]grant.Grants // what somebody may besides, by name
	Header    string                  // that says who it is
	Trusted   []netip.Prefix          // peers whose header is believed; empty for every peer

	CookiePath string // base path
	Log        *slog.Logger

	cost int // of the hash that unknown users are compared with, less in tests; 0: that of passwords
}

// rules are what a Guard judges by; a reload replaces them.
type rules struct {
	Config
	way   Way
	users *usersFile // of way Users, when there is one
}

// Guard says who requests are from. It is safe for concurrent use.
type Guard struct {
	now    atomic.Pointer[rules]
	tries  *tries
	hashes *turns        // of hashing passwords
	pepper []byte        // under which good Basic passwords are remembered
	decoy  func() []byte // hash that unknown users are compared with, so that they take as long

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*session  // guarded by mu, as what it points to
	basic    map[[sha256.Size]byte]time.Time // good Basic passwords, until when; guarded by mu
}

type session struct {
	user  string
	by    *grant.Caller // the token that opened it; nil for a password
	hash  []byte        // of the password that opened it: another one ends it
	token string        // for X-CSRF-Token
	used  time.Time
}

const (
	sessionLife = 12 * time.Hour
	maxSessions = 10_000
	basicLife   = 5 * time.Minute
	cookieName  = "admind_session"
)

// New returns a Guard. The error is that of the file of users.
func New(cfg Config) (*Guard, error) {
	g := &Guard{tries: newTries(), hashes: newTurns(),
		pepper: random(), sessions: map[[sha256.Size]byte]*session{}, basic: map[[sha256.Size]byte]time.Time{}}
	g.decoy = sync.OnceValue(func() []byte {
		hash, err := bcrypt.GenerateFromPassword(g.pepper, cmp.Or(cfg.cost, cost))
		if err != nil { // the cost is in range, and the password is not too long
			panic(err)
		}
		return hash
	})
	apply, err := g.Prepare(cfg)
	if err != nil {
		return nil, err
	}
	apply()
	return g, nil
}

// Prepare reads what other rules need, and returns what has the Guard judge by them. Who is signed in stays so as far as they let him.
func (g *Guard) Prepare(cfg Config) (apply func(), err error) {
	r := &rules{Config: cfg, way: Open}
	switch {
	case cfg.UsersFile != "":
		if r.users, err = openUsers(cfg.UsersFile, cfg.Log); err != nil {
			return nil, fmt.Errorf("--users-file: %w", err)
		}
		r.way = Users
	case len(cfg.Operators)+len(cfg.Viewers)+len(cfg.Roles) > 0:
		r.way = Proxy
	case cfg.Tokens != nil:
		r.way = Users // with a token in the place of a password
	}
	return func() { g.now.Store(r) }, nil
}

// Way returns how people sign in.
func (g *Guard) Way() Way { return g.now.Load().way }

// TakesTokens reports whether a token signs in where a password does.
func (g *Guard) TakesTokens() bool { return g.now.Load().Tokens != nil }

// Caller is who a request is from.
type Caller struct {
	User   string // empty when nobody said
	Grants grant.Grants
	Token  string // that acts must carry in X-CSRF-Token; empty when they need none
}

// Role returns the most that he may on any topic.
func (c Caller) Role() Role { return roleOf(c.Grants) }

// All reports whether he may see all topics, and with them what belongs to none.
func (c Caller) All() bool { return c.Grants.Everywhere(grant.Read) }

// Refusals of a request.
var (
	ErrBadCredentials = errors.New("BAD_CREDENTIALS")
	ErrToken          = errors.New("CSRF_TOKEN")
	ErrBadToken       = errors.New("TOKEN_REFUSED")
	ErrNoForm         = errors.New("NO_SIGN_IN: nobody signs in here with a password")
)

// TooMany refuses a try at a password before the password is looked at.
type TooMany struct{ RetryAfter time.Duration }

func (e *TooMany) Error() string { return "TOO_MANY_ATTEMPTS" }

// Who returns who a request is from. The error is ErrBadCredentials, or a *TooMany, for a wrong Basic password, and ErrBadToken for a token;
// without one a caller with role None is somebody who has yet to sign in.
func (g *Guard) Who(r *http.Request) (Caller, error) {
	now := g.now.Load()
	if now.way == Open {
		return Caller{Grants: everything}, nil
	}
	if c, ok, err := now.byTokenOrCertificate(r); ok || err != nil {
		return c, err
	}
	c, ok := Caller{}, true
	var err error
	switch name, password, basic := r.BasicAuth(); {
	case now.way == Proxy:
		c = now.fromProxy(r)
	case basic:
		if c, ok = g.fromSession(now, r); !ok {
			c, err = g.fromBasic(now, r, name, password)
		}
	default:
		c, _ = g.fromSession(now, r) // nobody without one
	}
	if err == nil && now.Tokens != nil {
		c.Grants = slices.Concat(c.Grants, now.Tokens.Table().Anonymous().Grants)
	}
	return c, err
}

const bearer = "bearer "

// byTokenOrCertificate knows callers of the token file.
func (now *rules) byTokenOrCertificate(r *http.Request) (c Caller, ok bool, err error) {
	if now.Tokens == nil {
		return c, false, nil
	}
	table := now.Tokens.Table()
	if text := r.Header.Get("Authorization"); len(text) > len(bearer) && strings.EqualFold(text[:len(bearer)], bearer) {
		by, err := table.ByToken(strings.TrimSpace(text[len(bearer):]), time.Now())
		if err != nil {
			return c, false, ErrBadToken
		}
		return Caller{User: by.String(), Grants: by.Grants}, true, nil
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return c, false, nil
	}
	cert := r.TLS.VerifiedChains[0][0]
	by, ok := table.ByCertificate(append([]string{cert.Subject.CommonName}, cert.DNSNames...))
	if !ok {
		return c, false, nil
	}
	return Caller{User: by.String(), Grants: by.Grants}, true, nil
}

func (now *rules) fromProxy(r *http.Request) Caller {
	c := Caller{}
	if said := r.Header.Values(now.Header); now.trusts(r) && len(said) == 1 { // of two, one is what the proxy was sent
		c.User = said[0]
	}
	named := c.User != ""
	if named && slices.Contains(now.Operators, c.User) {
		c.Grants = everything
		return c
	}
	if named {
		c.Grants = now.Roles[c.User]
	}
	if len(now.Viewers) == 0 && len(now.Operators) > 0 || named && (slices.Contains(now.Viewers, c.User) || slices.Contains(now.Viewers, "*")) {
		c.Grants = slices.Concat(c.Grants, seeing)
	}
	return c
}

// trusts reports whether the peer may say who somebody is.
func (now *rules) trusts(r *http.Request) bool {
	if len(now.Trusted) == 0 {
		return true
	}
	peer, ok := Peer(r)
	return ok && slices.ContainsFunc(now.Trusted, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// Peer returns the address that a request came from.
func Peer(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr().Unmap().WithZone(""), err == nil
}

func (g *Guard) fromSession(rules *rules, r *http.Request) (Caller, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return Caller{}, false
	}
	now, id := time.Now(), sha256.Sum256([]byte(cookie.Value))
	g.mu.Lock()
	s := g.sessions[id]
	if s == nil || now.Sub(s.used) > sessionLife {
		delete(g.sessions, id)
		g.mu.Unlock()
		return Caller{}, false
	}
	s.used = now
	name, by, hash, token := s.user, s.by, s.hash, s.token
	g.mu.Unlock()
	if by != nil {
		if rules.Tokens == nil {
			return Caller{}, false
		}
		if by = rules.Tokens.Table().Again(by, now); by == nil {
			return Caller{}, false
		}
		return Caller{User: name, Grants: by.Grants, Token: token}, true
	}
	u, ok := rules.find(name, now)
	if !ok || !bytes.Equal(u.Hash, hash) {
		return Caller{}, false
	}
	return Caller{User: name, Grants: u.Grants, Token: token}, true
}

// find returns a user of the file, if there is one.
func (now *rules) find(name string, at time.Time) (User, bool) {
	if now.users == nil {
		return User{}, false
	}
	return now.users.find(name, at)
}

// byToken knows who has typed a token in the place of a password.
func (now *rules) byToken(text string) (by *grant.Caller, ok bool) {
	if now.Tokens == nil || !grant.Looks(text) {
		return nil, false
	}
	by, err := now.Tokens.Table().ByToken(text, time.Now())
	return by, err == nil
}

// fromBasic checks a password, which is remembered for a while so that a script does not cost a hash each time.
func (g *Guard) fromBasic(rules *rules, r *http.Request, name, password string) (Caller, error) {
	if by, ok := rules.byToken(password); ok {
		return Caller{User: by.String(), Grants: by.Grants}, nil
	}
	now := time.Now()
	u, ok := rules.find(name, now)
	mac := hmac.New(sha256.New, g.pepper)
	fmt.Fprintf(mac, "%q %q %q", name, password, u.Hash)
	id := [sha256.Size]byte(mac.Sum(nil))
	g.mu.Lock()
	known := ok && now.Before(g.basic[id])
	g.mu.Unlock()
	if known {
		return Caller{User: name, Grants: u.Grants}, nil
	}
	if _, err := g.check(rules, r, name, password); err != nil {
		return Caller{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.basic) >= maxSessions {
		clear(g.basic)
	}
	g.basic[id] = now.Add(basicLife)
	return Caller{User: name, Grants: u.Grants}, nil
}

// check compares a password with the user's, when it is its turn, and returns the user whose it is.
func (g *Guard) check(rules *rules, r *http.Request, name, password string) (User, error) {
	peer, _ := Peer(r)
	user := name
	if g.hashes.knows(peer, time.Now()) {
		user += "\x00" + network(peer) // strangers who guess at a name do not keep its owner out
	}
	if wait := g.tries.take(peer, user, time.Now()); wait > 0 {
		return User{}, &TooMany{wait}
	}
	end, err := g.hashes.begin(r.Context(), peer)
	if err != nil {
		return User{}, err
	}
	defer end()
	u, ok := rules.find(name, time.Now())
	hash := u.Hash
	if !ok {
		hash = g.decoy()
	}
	if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil || !ok {
		return User{}, ErrBadCredentials
	}
	g.tries.forget(peer, user)
	g.hashes.know(peer)
	return u, nil
}

// SignIn checks a name and password, or a token in the place of the password, and opens a session, whose cookie it sets. Errors are ErrNoForm, ErrBadCredentials and
// *TooMany.
func (g *Guard) SignIn(w http.ResponseWriter, r *http.Request, name, password string) (Caller, error) {
	rules := g.now.Load()
	if rules.way != Users {
		return Caller{}, ErrNoForm
	}
	by, ok := rules.byToken(password)
	c, hash := Caller{User: name}, []byte(nil)
	if ok {
		c = Caller{User: by.String(), Grants: by.Grants}
	} else {
		u, err := g.check(rules, r, name, password)
		if err != nil {
			return Caller{}, err
		}
		c.Grants, hash = u.Grants, u.Hash
	}
	id := base64.RawURLEncoding.EncodeToString(random())
	s := &session{user: c.User, by: by, hash: hash, token: base64.RawURLEncoding.EncodeToString(random()), used: time.Now()}
	g.mu.Lock()
	g.dropOldLocked(s.used)
	g.sessions[sha256.Sum256([]byte(id))] = s
	g.mu.Unlock()
	g.setCookie(w, r, id, int(sessionLife/time.Second))
	c.Token = s.token
	return c, nil
}

// dropOldLocked makes room for one more session.
func (g *Guard) dropOldLocked(now time.Time) {
	if len(g.sessions) < maxSessions {
		return
	}
	var oldest [sha256.Size]byte
	var used time.Time
	for id, s := range g.sessions {
		if now.Sub(s.used) > sessionLife {
			delete(g.sessions, id)
		} else if used.IsZero() || s.used.Before(used) {
			oldest, used = id, s.used
		}
	}
	if len(g.sessions) >= maxSessions {
		delete(g.sessions, oldest)
	}
}

// SignOut ends the request's session, if it has one.
func (g *Guard) SignOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		g.mu.Lock()
		delete(g.sessions, sha256.Sum256([]byte(cookie.Value)))
		g.mu.Unlock()
		g.setCookie(w, r, "", -1)
	}
}

func (g *Guard) setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: g.now.Load().CookiePath, MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}

// MayAct refuses a request that changes something when it does not carry its session's token, with ErrToken. Whether the caller's role
// is enough is not looked at.
func (g *Guard) MayAct(r *http.Request, c Caller) error {
	if c.Token != "" && subtle.ConstantTimeCompare([]byte(c.Token), []byte(r.Header.Get("X-CSRF-Token"))) != 1 {
		return ErrToken
	}
	return nil
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return b
}
