package access

import (
	"context"
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
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Way is how people sign in.
type Way string

// The ways.
const (
	Open  Way = "none"
	Users Way = "users"
	Proxy Way = "proxy"
)

// Config is what a Guard is told. With neither a file nor operators everybody is an operator.
type Config struct {
	UsersFile string // way Users

	Operators []string       // way Proxy: who may act
	Viewers   []string       // who else may see; empty for everybody
	Header    string         // that says who it is
	Trusted   []netip.Prefix // peers whose header is believed; empty for every peer

	CookiePath string // base path
	Log        *slog.Logger
}

// Guard says who requests are from. It is safe for concurrent use.
type Guard struct {
	cfg    Config
	way    Way
	users  *usersFile // of way Users
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
	token string // for X-CSRF-Token
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
	g := &Guard{cfg: cfg, way: Open, tries: newTries(), hashes: newTurns(),
		pepper: random(), sessions: map[[sha256.Size]byte]*session{}, basic: map[[sha256.Size]byte]time.Time{}}
	g.decoy = sync.OnceValue(func() []byte {
		hash, err := bcrypt.GenerateFromPassword(g.pepper, cost)
		if err != nil { // the cost is in range, and the password is not too long
			panic(err)
		}
		return hash
	})
	switch {
	case cfg.UsersFile != "":
		var err error
		if g.users, err = openUsers(cfg.UsersFile, cfg.Log); err != nil {
			return nil, err
		}
		g.way = Users
	case len(cfg.Operators) > 0 || len(cfg.Viewers) > 0:
		g.way = Proxy
	}
	return g, nil
}

// Way returns how people sign in.
func (g *Guard) Way() Way { return g.way }

// Caller is who a request is from.
type Caller struct {
	User  string // empty when nobody said
	Role  Role
	Token string // that acts must carry in X-CSRF-Token; empty when they need none
}

// Refusals of a request.
var (
	ErrBadCredentials = errors.New("BAD_CREDENTIALS")
	ErrToken          = errors.New("CSRF_TOKEN")
	ErrNoForm         = errors.New("NO_SIGN_IN: nobody signs in here with a password")
)

// TooMany refuses a try at a password before the password is looked at.
type TooMany struct{ RetryAfter time.Duration }

func (e *TooMany) Error() string { return "TOO_MANY_ATTEMPTS" }

// Who returns who a request is from. The error is ErrBadCredentials, or a *TooMany, for a wrong Basic password; without one a
// caller with role None is somebody who has yet to sign in.
func (g *Guard) Who(r *http.Request) (Caller, error) {
	switch g.way {
	case Open:
		return Caller{Role: Operator}, nil
	case Proxy:
		return g.fromProxy(r), nil
	}
	if c, ok := g.fromSession(r); ok {
		return c, nil
	}
	if name, password, ok := r.BasicAuth(); ok {
		return g.fromBasic(r, name, password)
	}
	return Caller{}, nil
}

func (g *Guard) fromProxy(r *http.Request) Caller {
	c := Caller{}
	if g.trusts(r) {
		c.User = r.Header.Get(g.cfg.Header)
	}
	switch {
	case c.User != "" && slices.Contains(g.cfg.Operators, c.User):
		c.Role = Operator
	case len(g.cfg.Viewers) == 0, c.User != "" && (slices.Contains(g.cfg.Viewers, c.User) || slices.Contains(g.cfg.Viewers, "*")):
		c.Role = Viewer
	}
	return c
}

// trusts reports whether the peer may say who somebody is.
func (g *Guard) trusts(r *http.Request) bool {
	if len(g.cfg.Trusted) == 0 {
		return true
	}
	peer, ok := Peer(r)
	return ok && slices.ContainsFunc(g.cfg.Trusted, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// Peer returns the address that a request came from.
func Peer(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr().Unmap().WithZone(""), err == nil
}

func (g *Guard) fromSession(r *http.Request) (Caller, bool) {
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
	name, token := s.user, s.token
	g.mu.Unlock()
	u, ok := g.users.find(name, now)
	return Caller{User: name, Role: u.Role, Token: token}, ok
}

// fromBasic checks a password, which is remembered for a while so that a script does not cost a hash each time.
func (g *Guard) fromBasic(r *http.Request, name, password string) (Caller, error) {
	now := time.Now()
	u, ok := g.users.find(name, now)
	mac := hmac.New(sha256.New, g.pepper)
	fmt.Fprintf(mac, "%q %q %q", name, password, u.Hash)
	id := [sha256.Size]byte(mac.Sum(nil))
	g.mu.Lock()
	known := ok && now.Before(g.basic[id])
	g.mu.Unlock()
	if known {
		return Caller{User: name, Role: u.Role}, nil
	}
	if err := g.check(r.Context(), r, name, password); err != nil {
		return Caller{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.basic) >= maxSessions {
		clear(g.basic)
	}
	g.basic[id] = now.Add(basicLife)
	return Caller{User: name, Role: u.Role}, nil
}

// check compares a password with the user's, when it is its turn.
func (g *Guard) check(ctx context.Context, r *http.Request, name, password string) error {
	peer, _ := Peer(r)
	user := name
	if g.hashes.knows(peer, time.Now()) {
		user += "\x00" + network(peer) // strangers who guess at a name do not keep its owner out
	}
	if wait := g.tries.take(peer, user, time.Now()); wait > 0 {
		return &TooMany{wait}
	}
	end, err := g.hashes.begin(ctx, peer)
	if err != nil {
		return err
	}
	defer end()
	u, ok := g.users.find(name, time.Now())
	hash := u.Hash
	if !ok {
		hash = g.decoy()
	}
	if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil || !ok {
		return ErrBadCredentials
	}
	g.tries.forget(peer, user)
	g.hashes.know(peer)
	return nil
}

// SignIn checks a name and password and opens a session, whose cookie it sets. Errors are ErrNoForm, ErrBadCredentials and
// *TooMany.
func (g *Guard) SignIn(w http.ResponseWriter, r *http.Request, name, password string) (Caller, error) {
	if g.way != Users {
		return Caller{}, ErrNoForm
	}
	if err := g.check(r.Context(), r, name, password); err != nil {
		return Caller{}, err
	}
	u, ok := g.users.find(name, time.Now())
	if !ok {
		return Caller{}, ErrBadCredentials
	}
	id := base64.RawURLEncoding.EncodeToString(random())
	s := &session{user: name, token: base64.RawURLEncoding.EncodeToString(random()), used: time.Now()}
	g.mu.Lock()
	g.dropOldLocked(s.used)
	g.sessions[sha256.Sum256([]byte(id))] = s
	g.mu.Unlock()
	g.setCookie(w, r, id, int(sessionLife/time.Second))
	return Caller{User: name, Role: u.Role, Token: s.token}, nil
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
		Name: cookieName, Value: value, Path: g.cfg.CookiePath, MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode,
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
