package brokerctl

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

// completeCommand is what the shells' scripts call, with the words of the line up to the cursor.
const completeCommand = "__complete"

// completeTimeout bounds how long a shell waits for the names of topics and channels.
const completeTimeout = time.Second

// scripts are what completion prints, by shell. Each asks brokerctl itself, which answers a candidate a line, with a tab and
// what it means behind it.
var scripts = map[string]string{
	"bash": `_brokerctl() {
  local line=${COMP_LINE:0:COMP_POINT} candidate IFS=$'\n'
  local words=()
  IFS=$' \t\n' read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  COMPREPLY=()
  for candidate in $("${words[0]}" ` + completeCommand + ` "${words[@]:1}" 2>/dev/null); do
    COMPREPLY+=("${candidate%%$'\t'*}")
  done
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -o default -F _brokerctl brokerctl
`,
	"zsh": `#compdef brokerctl
_brokerctl() {
  local line
  local -a open closed
  for line in "${(@f)$("${words[1]}" ` + completeCommand + ` "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -z $line ]] && continue
    if [[ ${line%%$'\t'*} == *= ]]; then
      open+=("${line%%$'\t'*}")
    else
      closed+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    fi
  done
  (( ${#open} )) && compadd -S '' -a open
  (( ${#closed} )) && _describe brokerctl closed
  (( ${#open} + ${#closed} )) || _default
}
if [[ $funcstack[1] == _brokerctl ]]; then _brokerctl "$@"; else compdef _brokerctl brokerctl; fi
`,
	"fish": `function __brokerctl
  set -l words (commandline -opc)
  brokerctl ` + completeCommand + ` $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c brokerctl -f -a '(__brokerctl)'
`,
}

func completion() appkit.Command {
	shells := []string{"bash", "zsh", "fish"}
	return appkit.Command{
		Name: "completion", Summary: "print what makes a shell complete brokerctl", Args: "SHELL",
		Help: "SHELL is " + strings.Join(shells, ", ") + `. Names of topics and channels are completed too, if flags in front of
them or the environment say where the daemons are.`,
		Example: `source <(brokerctl completion bash)
brokerctl completion zsh > "${fpath[1]}/_brokerctl"
brokerctl completion fish > ~/.config/fish/completions/brokerctl.fish`,
		Setup: func(*flag.FlagSet) appkit.RunFunc {
			return func(_ context.Context, env *appkit.Env) error {
				if len(env.Args) != 1 || !slices.Contains(shells, env.Args[0]) {
					return appkit.Usagef("wants one of %s", strings.Join(shells, ", "))
				}
				_, err := io.WriteString(env.Stdout, scripts[env.Args[0]])
				return err
			}
		},
	}
}

// completeMain answers a shell's script. Nothing can go wrong that a shell could show: the worst is no candidate.
func completeMain(proc appkit.Process, lookupEnv Environment) int {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	for _, candidate := range Complete(ctx, New(lookupEnv), proc.Args[1:], lookupEnv) {
		fmt.Fprintln(proc.Stdout, candidate)
	}
	return appkit.ExitOK
}

// Complete returns what the last of the words, which may be empty, can become: each candidate with a tab and what it means. The
// words are those of a command line behind the command's own name.
func Complete(ctx context.Context, root appkit.Command, words []string, lookupEnv Environment) []string {
	if len(words) == 0 {
		return nil
	}
	current, before := words[len(words)-1], words[:len(words)-1]
	command := root
	var positional []string
	for _, word := range before {
		i := slices.IndexFunc(command.Sub, func(s appkit.Command) bool { return s.Name == word })
		switch {
		case i >= 0 && len(positional) == 0:
			command = command.Sub[i]
		case !strings.HasPrefix(word, "-"):
			positional = append(positional, word)
		}
	}
	var list []string
	offer := func(word, meaning string) {
		if strings.HasPrefix(word, current) {
			list = append(list, word+"\t"+meaning)
		}
	}
	switch {
	case len(command.Sub) > 0:
		for _, s := range command.Sub {
			offer(s.Name, s.Summary)
		}
	case strings.HasPrefix(current, "-"):
		offerFlags(command, offer)
	default:
		offerArgument(ctx, command, before, positional, lookupEnv, offer)
	}
	return list
}

// offerFlags offers a command's flags, those that want a value with an equals sign.
func offerFlags(c appkit.Command, offer func(word, meaning string)) {
	appkit.FlagsOf(c).VisitAll(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		word := "--" + f.Name
		if toggle, ok := f.Value.(interface{ IsBoolFlag() bool }); !ok || !toggle.IsBoolFlag() {
			word += "="
		}
		offer(word, usage)
	})
}

// offerArgument offers what the next positional argument can be.
func offerArgument(
	ctx context.Context, c appkit.Command, before, positional []string, lookupEnv Environment, offer func(word, meaning string),
) {
	names := strings.Fields(c.Args)
	if len(positional) >= len(names) {
		return
	}
	switch kind := strings.Trim(names[len(positional)], "[]"); kind {
	case "SHELL":
		for _, shell := range []string{"bash", "fish", "zsh"} {
			offer(shell, "a shell")
		}
	case "TOPIC", "CHANNEL", "NODE":
		brokers, lookups := fromEnvironment(addressesIn(before, "nsqd-http-address"), addressesIn(before, "lookupd-http-address"), lookupEnv)
		client := httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: completeTimeout, RequestTimeout: completeTimeout})
		f := fleet.New(client, brokers, lookups)
		defer f.Close()
		for _, name := range known(ctx, f, brokers, kind, positional) {
			offer(name, cmp.Or(map[string]string{"TOPIC": "a topic", "CHANNEL": "a channel"}[kind], "a broker"))
		}
	case "OPTION":
		for _, option := range []string{"log_level", "nsqlookupd_tcp_addresses"} {
			offer(option, "can be set while a broker runs")
		}
	}
}

// addressesIn returns the values of a flag that is among the words.
func addressesIn(words []string, name string) (values []string) {
	for i, word := range words {
		key, value, ok := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case key != name || word == key:
		case ok:
			values = append(values, value)
		case i+1 < len(words):
			values = append(values, words[i+1])
		}
	}
	return values
}

// known returns the names that daemons know. Who does not answer is left out.
func known(ctx context.Context, f *fleet.Fleet, brokers []string, kind string, positional []string) (names []string) {
	if kind == "NODE" {
		names, _ = f.Brokers(ctx, "")
		return names
	}
	topic := ""
	if kind == "CHANNEL" {
		topic = positional[0]
		for _, a := range fleet.Each(f.Lookups(), func(address string) (found httpapi.Channels, err error) {
			err = f.Get(ctx, address, query("/channels", topic, ""), &found)
			return found, err
		}) {
			names = append(names, a.Value.Channels...)
		}
	} else {
		names, _ = f.Topics(ctx)
	}
	for _, a := range f.Stats(ctx, brokers, fleet.Query{Topic: topic}) {
		for i := range a.Value.Topics {
			t := &a.Value.Topics[i]
			if kind == "TOPIC" {
				names = append(names, t.TopicName)
				continue
			}
			for j := range t.Channels {
				names = append(names, t.Channels[j].ChannelName)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
