package cmdtest

import "github.com/nsqio/go-nsq"

// ConsumerOpts and ProducerOpts are flags that give a tool's clients of messages the times of ClientConfig.
var (
	ConsumerOpts = clientOpts("--consumer-opt")
	ProducerOpts = clientOpts("--producer-opt")
)

func clientOpts(flag string) []string {
	return []string{flag + "=dial_timeout," + Patience.String(), flag + "=write_timeout," + Patience.String()}
}

// ClientConfig returns go-nsq's own configuration, but for its time to connect and to write. Those are a second, which a process that has to wait for
// the processor can miss: then it hangs up, and messages come again though nothing is wrong.
func ClientConfig() *nsq.Config {
	config := nsq.NewConfig()
	config.DialTimeout, config.WriteTimeout = Patience, Patience
	return config
}
