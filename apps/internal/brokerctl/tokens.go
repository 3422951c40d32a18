package brokerctl

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"text/tabwriter"
	"time"

	"brokerd/apps/appkit"
	"brokerd/protocol/grant"
)

// tokenGroup is the verbs for a daemon's token file, which is on this machine.
func tokenGroup() appkit.Command {
	return appkit.Command{
		Name: "token", Summary: "give and take away tokens for daemons",
		Help: `A daemon that is started with --token-file=FILE asks everybody for a token. These commands write that file; a daemon that is
running takes a change over within a second, and cuts off whose token is gone.

A grant is SCOPE[,SCOPE...][:PATTERN[,PATTERN...]]: read (figures), publish, consume, manage (topics and channels), admin (all of it, and the daemon
itself), on topics whose names fit, as publish:orders.*; without a pattern on all. Lines of the file that begin with cert or anonymous are
written with an editor: see docs/SECURITY.md.`,
		Example: `brokerctl token add /etc/brokerd/tokens orders-app publish:orders.* consume:invoices
brokerctl token list /etc/brokerd/tokens
brokerctl token remove /etc/brokerd/tokens orders-app`,
		Sub: []appkit.Command{addToken(), listTokens(), removeToken()},
	}
}

func addToken() appkit.Command {
	return appkit.Command{
		Name: "add", Summary: "make a token and print it, which can be done only once", Args: "FILE ID GRANT...",
		Help:    "The file is made when there is none, for its owner only. It keeps the token's SHA-256.",
		Example: "brokerctl token add tokens orders-app publish:orders.* --expires=2160h",
		Alone:   true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			life, out := flags.Duration("expires", 0, "`time` until it ends; 0 means never"), asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				grants, err := grant.ParseGrants(env.Args[2:])
				switch bad := grant.CheckID(env.Args[1]); {
				case err != nil:
					return appkit.Usagef("%w", err)
				case bad != nil:
					return appkit.Usagef("%w", bad)
				case len(grants) == 0:
					return appkit.Usagef("%w", grant.ErrNoGrant)
				}
				var expires time.Time
				switch {
				case *life < 0:
					return appkit.Usagef("--expires must be 0 or more")
				case *life > 0:
					expires = time.Now().Add(*life)
				}
				token, err := grant.Add(env.Args[0], env.Args[1], grants, expires)
				if err != nil {
					return err
				}
				made := tokenRow{Kind: string(grant.Token), Name: env.Args[1], Grants: grants.String(), Expires: when(expires), Token: token}
				if printed, err := out.print(env, made); printed {
					return err
				}
				_, err = fmt.Fprintln(env.Stdout, token)
				return err
			}
		},
	}
}

func removeToken() appkit.Command {
	return appkit.Command{
		Name: "remove", Summary: "take a token away", Args: "FILE ID", Example: "brokerctl token remove tokens orders-app", Alone: true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			out := asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				err := grant.Remove(env.Args[0], env.Args[1])
				if errors.Is(err, grant.ErrNotThere) {
					return appkit.Missingf("%w", err)
				}
				if err != nil {
					return err
				}
				_, err = out.print(env, removed{env.Args[1], true})
				return err
			}
		},
	}
}

// tokenRow is a line of a token file as it is listed.
type tokenRow struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Grants  string `json:"grants"`
	Expires string `json:"expires,omitempty"`
	Token   string `json:"token,omitempty"` // of one that was made just now
}

// removed says that something of that name is gone.
type removed struct {
	Name    string `json:"name"`
	Removed bool   `json:"removed"`
}

// when writes a time down, empty for none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func listTokens() appkit.Command {
	return appkit.Command{
		Name: "list", Summary: "print who may do what", Args: "FILE", Example: "brokerctl token list tokens", Alone: true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			out := asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				entries, err := grant.List(env.Args[0])
				if err != nil {
					return err
				}
				rows := make([]tokenRow, len(entries))
				for i, e := range entries {
					rows[i] = tokenRow{Kind: string(e.Kind), Name: e.Name, Grants: e.Grants.String(), Expires: when(e.Expires)}
				}
				if printed, err := out.print(env, rows); printed {
					return err
				}
				w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "KIND\tNAME\tEXPIRES\tGRANTS")
				for _, r := range rows {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Kind, r.Name, r.Expires, r.Grants)
				}
				return w.Flush()
			}
		},
	}
}
