package tofile

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"brokerd/apps/appkit"
)

// Command is brokerd's nsq_to_file.
var Command = appkit.Command{
	Name:    "tofile",
	NSQ:     "nsq_to_file",
	Summary: "write topics to files",
	Help: `Consumes topics and appends each message, followed by a newline, to files. It takes nsq_to_file's flags.

A message is finished once it is in a file that is synced. Killed, out of power, or out of room on the disk, it has finished
nothing that is not there; the broker delivers the rest again. With --gzip or --zstd each sync ends a complete stream, so that
gzip and zstd read a file to its last sync. A start cuts off what a killed one left half written, and moves its files from
--work-dir to --output-dir.

--topic-pattern is a regular expression that may match anywhere in a name: ^orders\. is what begins with "orders.". SIGHUP
closes all files; the next message opens new ones.`,
	Example: `brokerctl tofile --topic=orders --lookupd-http-address=127.0.0.1:4161 --output-dir=/var/archive --gzip --rotate-interval=1h
brokerctl tofile --topic-pattern='^orders\.' --lookupd-http-address=127.0.0.1:4161 --output-dir=/var/archive --work-dir=/var/archive/open`,
	Hangup:   true,
	Progress: true,
	Service:  true,
	OneKind:  true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		return newOptions(flags).run
	},
}

// options are the flags.
type options struct {
	consumer                       *appkit.ConsumerFlags
	http                           *appkit.HTTPFlags
	topics                         appkit.Strings
	topicPattern, channel          string
	topicRefresh                   time.Duration
	outputDir, workDir             string
	datetimeFormat, filenameFormat string
	hostIdentifier                 string
	utc, skipEmptyFiles            bool
	gzip, zstd                     bool
	gzipLevel, zstdLevel           int
	rotateSize                     int64 // bytes
	rotateInterval, syncInterval   time.Duration
	logPrefix                      string

	pattern *regexp.Regexp
}

func newOptions(flags *flag.FlagSet) *options {
	o := &options{consumer: appkit.AddConsumerFlags(flags, 200)}
	o.http = appkit.AddHTTPFlags(flags, 2*time.Second, 5*time.Second)
	flags.Var(&o.topics, "topic", "the `topic` to write")
	flags.StringVar(&o.topicPattern, "topic-pattern", "", "write only topics that match this `regexp`; without --topic, every one that a lookup knows")
	flags.DurationVar(&o.topicRefresh, "topic-refresh", time.Minute, "how often to ask the lookups for new topics")
	flags.StringVar(&o.channel, "channel", "nsq_to_file", "the `channel` to consume")
	flags.StringVar(&o.outputDir, "output-dir", "/tmp", "the `folder` for files")
	flags.StringVar(&o.workDir, "work-dir", "", "the `folder` for files until they are complete (default that of --output-dir)")
	flags.StringVar(&o.filenameFormat, "filename-format", "<TOPIC>.<HOST><REV>.<DATETIME>.log",
		"files' names, with / for folders; the `format` may have <TOPIC>, <HOST>, <PID>, <DATETIME>, and <REV> for what tells files of one name apart")
	flags.StringVar(&o.datetimeFormat, "datetime-format", "%Y-%m-%d_%H", "what <DATETIME> is, in strftime's `format`")
	flags.BoolVar(&o.utc, "utc", false, "make <DATETIME> of UTC instead of the local time")
	flags.StringVar(&o.hostIdentifier, "host-identifier", "", "what <HOST> is; the `format` may have <SHORT_HOST> and <HOSTNAME> (default <SHORT_HOST>)")
	flags.BoolVar(&o.skipEmptyFiles, "skip-empty-files", false, "open no file before there is a message for it")
	flags.BoolVar(&o.gzip, "gzip", false, "compress files with gzip")
	flags.IntVar(&o.gzipLevel, "gzip-level", 6, "1 (fast) to 9 (small)")
	flags.BoolVar(&o.zstd, "zstd", false, "compress files with zstd")
	flags.IntVar(&o.zstdLevel, "zstd-level", 3, "1 (fast) to 22 (small)")
	flags.Int64Var(&o.rotateSize, "rotate-size", 0, "begin a new file when one has more than so many `bytes`, before compression; 0 never does")
	flags.DurationVar(&o.rotateInterval, "rotate-interval", 0, "begin a new file when one is open for longer; 0 never does")
	flags.DurationVar(&o.syncInterval, "sync-interval", 30*time.Second, "sync, and finish messages, at least so often")
	flags.StringVar(&o.logPrefix, "log-prefix", "[nsq_to_file] ", "accepted for nsq_to_file's scripts, without effect")
	return o
}

// check validates the flags.
func (o *options) check() error {
	if err := o.consumer.Check(); err != nil {
		return err
	}
	if err := o.http.Check(); err != nil {
		return err
	}
	switch {
	case o.channel == "":
		return appkit.Usagef("--channel is required")
	case len(o.topics) == 0 && o.topicPattern == "":
		return appkit.Usagef("--topic or --topic-pattern required")
	case len(o.topics) == 0 && len(o.consumer.Lookups) == 0:
		return appkit.Usagef("--lookupd-http-address required when no --topic specified")
	case o.gzip && o.zstd:
		return appkit.Usagef("use --gzip or --zstd not both")
	case o.gzipLevel < 1 || o.gzipLevel > 9:
		return appkit.Usagef("invalid --gzip-level value (%d), should be 1-9", o.gzipLevel)
	case o.zstdLevel < 1 || o.zstdLevel > 22:
		return appkit.Usagef("invalid --zstd-level value (%d), should be 1-22", o.zstdLevel)
	case o.rotateSize < 0:
		return appkit.Usagef("--rotate-size must not be negative")
	case o.rotateInterval < 0:
		return appkit.Usagef("--rotate-interval must not be negative")
	case o.syncInterval <= 0 || o.topicRefresh <= 0:
		return appkit.Usagef("--sync-interval and --topic-refresh should be positive")
	}
	for _, topic := range o.topics {
		if err := appkit.CheckNames(topic, o.channel); err != nil {
			return err
		}
	}
	var err error
	if o.pattern, err = regexp.Compile(o.topicPattern); err != nil {
		return appkit.Usagef("--topic-pattern: %w", err)
	}
	return nil
}

// folders returns where files are written, and makes the folders.
func (o *options) folders() (folders, error) {
	output, err := filepath.Abs(o.outputDir)
	if err != nil {
		return folders{}, err
	}
	f := folders{work: output, output: output}
	if o.workDir != "" {
		if f.work, err = filepath.Abs(o.workDir); err != nil {
			return folders{}, err
		}
	}
	return f, errors.Join(os.MkdirAll(f.output, 0o770), os.MkdirAll(f.work, 0o770))
}

// revised reports whether there may be several files of one name, that <REV> tells apart.
func (o *options) revised(f folders) bool {
	return o.compression().start != nil || o.rotateSize > 0 || o.rotateInterval > 0 || f.separate()
}

// run is the command's work.
func (o *options) run(ctx context.Context, env *appkit.Env) error {
	if err := o.check(); err != nil {
		return err
	}
	f, err := o.folders()
	if err != nil {
		return err
	}
	if _, err := newNamer(o, "topic", o.revised(f)); err != nil {
		return appkit.Usagef("%w", err)
	}
	if err := settleAll(f, env.Log); err != nil {
		return fmt.Errorf("settling what another process left in %s: %w", f.work, err)
	}
	t := newTeam(o, f, env)
	return t.run(ctx)
}
