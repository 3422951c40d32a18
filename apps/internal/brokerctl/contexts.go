package brokerctl

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"brokerd/apps/appkit"
)

// contextFlags are what a context can say.
var contextFlags = []struct{ name, help string }{
	{"lookupd-http-address", "HTTP `address` of a lookup"},
	{"nsqd-http-address", "HTTP `address` of a broker"},
	{"nsqd-tcp-address", "TCP `address` of a broker"},
}

// contextFiles are the files that a context can name, by flags that every command has.
var contextFiles = []string{"token-file", "tls-root-ca-file", "tls-cert", "tls-key"}

var contextName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func contextGroup() appkit.Command {
	return appkit.Command{
		Name: "context", Summary: "keep where daemons are, under a name",
		Help: `A context holds addresses of daemons, and the files of a secret and of certificates, for every command: brokerctl topic list --context=prod. The one in use
counts where no other is named by --context or BROKERCTL_CONTEXT. What a command line names itself comes first, and addresses are
taken from one place together.`,
		Example: `brokerctl context add prod --lookupd-http-address=10.0.0.5:4161 --lookupd-http-address=10.0.0.6:4161 --token-file=prod.token
brokerctl context use prod`,
		Sub: []appkit.Command{addContext(), useContext(), listContexts(), removeContext()},
	}
}

func addContext() appkit.Command {
	return appkit.Command{
		Name: "add", Summary: "keep a context, in the place of one of this name", Args: "NAME",
		Help:    "The first one is in use at once. The file that keeps them is for its owner only.",
		Example: "brokerctl context add local --lookupd-http-address=127.0.0.1:4161",
		Alone:   true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			values := make(map[string]*appkit.Strings)
			for _, f := range contextFlags {
				values[f.name] = new(appkit.Strings)
				flags.Var(values[f.name], f.name, f.help)
			}
			use, out := flags.Bool("use", false, "use it from now on"), asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				added := appkit.Context{Name: env.Args[0], Values: make(map[string][]string)}
				for name, list := range values {
					if len(*list) > 0 {
						added.Values[name] = *list
					}
				}
				for _, name := range contextFiles {
					file := env.File(name)
					if file == "" {
						continue
					}
					path, err := filepath.Abs(file)
					if err != nil {
						return err
					}
					added.Values[name] = []string{path}
				}
				switch {
				case !contextName.MatchString(added.Name):
					return appkit.Usagef("%q is no name of a context: 1 to 64 letters, digits, _, . and -", added.Name)
				case len(added.Values) == 0:
					return appkit.Usagef("--lookupd-http-address, --nsqd-http-address or --nsqd-tcp-address required")
				}
				err := env.Contexts.Add(added)
				if err == nil && *use {
					err = env.Contexts.Use(added.Name)
				}
				if err != nil {
					return err
				}
				return out.printContext(env, added.Name)
			}
		},
	}
}

func useContext() appkit.Command {
	return appkit.Command{
		Name: "use", Summary: "let a context count where no other is named", Args: "CONTEXT", Example: "brokerctl context use prod",
		Alone: true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			out := asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				if err := env.Contexts.Use(env.Args[0]); err != nil {
					return err
				}
				return out.printContext(env, env.Args[0])
			}
		},
	}
}

func removeContext() appkit.Command {
	return appkit.Command{
		Name: "remove", Summary: "forget a context", Args: "CONTEXT", Example: "brokerctl context remove prod",
		Alone: true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			out := asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				if err := env.Contexts.Remove(env.Args[0]); err != nil {
					return err
				}
				_, err := out.print(env, removed{env.Args[0], true})
				return err
			}
		},
	}
}

// contextRow is a context as it is listed.
type contextRow struct {
	Name   string              `json:"name"`
	InUse  bool                `json:"in_use"`
	Values map[string][]string `json:"values"`
}

func listContexts() appkit.Command {
	return appkit.Command{
		Name: "list", Summary: "print the contexts, the one in use with a *", Example: "brokerctl context list",
		Alone: true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			out := asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				rows, err := contextRows(env)
				if err != nil {
					return err
				}
				if printed, err := out.print(env, rows); printed {
					return err
				}
				if len(rows) == 0 {
					env.Note("there is none in %s", env.Contexts.Path())
					return nil
				}
				writeContexts(env.Stdout, env.Width(), rows)
				return nil
			}
		},
	}
}

// contextRows returns all contexts by name.
func contextRows(env *appkit.Env) ([]contextRow, error) {
	names, current, err := env.Contexts.List()
	if err != nil {
		return nil, err
	}
	rows := []contextRow{}
	for _, name := range names {
		c, err := env.Contexts.Get(name)
		if err != nil {
			return nil, err
		}
		rows = append(rows, contextRow{name, name == current, c.Values})
	}
	return rows, nil
}

// printContext prints one as it is now, if that is wanted.
func (r *jsonResult) printContext(env *appkit.Env, name string) error {
	if !r.wanted {
		return nil
	}
	rows, err := contextRows(env)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.Name == name {
			_, err = r.print(env, row)
		}
	}
	return err
}

func writeContexts(w io.Writer, width int, rows []contextRow) {
	t := appkit.Table{Columns: []appkit.Column{{Name: "IN USE", Left: true}, {Name: "NAME", Left: true}, {Name: "SAYS", Left: true}}}
	for _, r := range rows {
		mark := ""
		if r.InUse {
			mark = "*"
		}
		var says []string
		for name, list := range r.Values {
			for _, value := range list {
				says = append(says, fmt.Sprintf("--%s=%s", name, value))
			}
		}
		slices.Sort(says)
		t.Add(mark, r.Name, strings.Join(says, " "))
	}
	t.Write(w, width)
}
