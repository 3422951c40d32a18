package child

import (
	"fmt"
	"os"
	"path/filepath"
)

// Broker is a broker, of either make, that has a folder to itself.
type Broker struct {
	Process
	TCP, HTTP string // addresses
	Data      string // folder of its queues, below the broker's folder, where its log is as well
}

// NewBroker makes a new folder below dir, the system's folder for temporary files if dir is empty, and prepares a broker that keeps
// everything there. Discard removes it.
func NewBroker(binary, dir string, flags ...string) (*Broker, error) {
	home, err := os.MkdirTemp(dir, "broker-")
	if err != nil {
		return nil, err
	}
	b := &Broker{Data: filepath.Join(home, "data")}
	if err := b.prepare(binary, home, flags); err != nil {
		_ = os.RemoveAll(home) // what came first is told
		return nil, fmt.Errorf("prepare %s: %w", binary, err)
	}
	return b, nil
}

func (b *Broker) prepare(binary, home string, flags []string) (err error) {
	if err := os.Mkdir(b.Data, 0o755); err != nil {
		return err
	}
	if b.TCP, err = FreeAddress(); err != nil {
		return err
	}
	if b.HTTP, err = FreeAddress(); err != nil {
		return err
	}
	log := filepath.Join(home, "log")
	args := append([]string{"--tcp-address=" + b.TCP, "--http-address=" + b.HTTP, "--data-path=" + b.Data}, flags...)
	b.Process = Process{Path: binary, Args: args, Ping: "http://" + b.HTTP + "/ping", Stdout: log, Log: log}
	return nil
}

// Discard kills the broker if it still runs, and removes its folder. It may be called more than once.
func (b *Broker) Discard() error {
	b.Kill()
	return os.RemoveAll(filepath.Dir(b.Data))
}

// Beside returns the path of a program that lies in this program's folder, or its name alone where that folder is not known.
func Beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}
