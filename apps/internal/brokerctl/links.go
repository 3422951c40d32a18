package brokerctl

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"brokerd/apps/appkit"
)

// daemonLinks are NSQ's names of the daemons, for ours.
var daemonLinks = map[string]string{"nsqd": "brokerd", "nsqlookupd": "lookupd", "nsqadmin": "admind"}

func links() appkit.Command {
	return appkit.Command{
		Name: "links", Summary: "make links with the names of NSQ's tools", Args: "DIR",
		Help: `Makes links in DIR, by which scripts that call NSQ's tools get these: nsq_to_file, nsq_to_http, nsq_to_nsq, nsq_tail, nsq_stat, to_nsq;
with --daemons also nsqd, nsqlookupd and nsqadmin, for the daemons that lie beside brokerctl. Where links are not to be had they are
copies. A file that is there and is no such link stays, and is an error, unless --force is given.`,
		Example: "brokerctl links ~/bin\nbrokerctl links /usr/local/bin --daemons",
		Alone:   true,
		Setup: func(flags *flag.FlagSet) appkit.RunFunc {
			daemons := flags.Bool("daemons", false, "links for the daemons too")
			force, out := flags.Bool("force", false, "replace files of these names, whatever they are"), asJSON(flags)
			return func(_ context.Context, env *appkit.Env) error {
				self, err := os.Executable()
				if err != nil {
					return err
				}
				wanted := make(map[string]string)
				for _, c := range New().Sub {
					if c.NSQ != "" {
						wanted[c.NSQ] = self
					}
				}
				if *daemons {
					for name, ours := range daemonLinks {
						wanted[name] = filepath.Join(filepath.Dir(self), ours+exe())
					}
				}
				made, err := makeLinks(env.Args[0], wanted, *force)
				if printed, wrong := out.print(env, made); printed {
					return errors.Join(err, wrong)
				}
				env.Note("%d links in %s", len(made), env.Args[0])
				return err
			}
		},
	}
}

// exe ends the names of programs.
func exe() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

// link is one that was made, or was there.
type link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// makeLinks makes all links that can be made, in the order of their names, and returns what went wrong with the others.
func makeLinks(dir string, wanted map[string]string, force bool) (made []link, err error) {
	made = []link{}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return made, err
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		path := filepath.Join(dir, name+exe())
		if err := makeLink(path, wanted[name], force); err != nil {
			wrong = append(wrong, err)
			continue
		}
		made = append(made, link{path, wanted[name]})
	}
	return made, errors.Join(wrong...)
}

// makeLink makes one link, or a copy. It is made under another name and renamed, so that a script never finds half of one.
func makeLink(path, target string, force bool) error {
	if _, err := os.Stat(target); err != nil {
		return fmt.Errorf("%s: what it is to be a link to is not there: %w", path, err)
	}
	if info, err := os.Lstat(path); err == nil && !force {
		if there, err := os.Readlink(path); err == nil && there == target {
			return nil
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("%s is there already and is no link: --force replaces it", path)
		}
		return fmt.Errorf("%s is a link to something else: --force replaces it", path)
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, fresh); err != nil {
		if err := copyProgram(fresh, target); err != nil {
			return err
		}
	}
	return os.Rename(fresh, path)
}

func copyProgram(path, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // it was only read
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
