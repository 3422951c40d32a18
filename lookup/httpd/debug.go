package httpd

import (
	"net/http"

	"github.com/julienschmidt/httprouter"
)

// debugRecord is one registration in the answer to /debug.
type debugRecord struct {
	ID               string `json:"id"`
	Hostname         string `json:"hostname"`
	BroadcastAddress string `json:"broadcast_address"`
	TCPPort          int    `json:"tcp_port"`
	HTTPPort         int    `json:"http_port"`
	Version          string `json:"version"`
	TopologyZone     string `json:"topology_zone"`
	TopologyRegion   string `json:"topology_region"`
	LastUpdate       int64  `json:"last_update"` // nanoseconds since the Unix epoch
	Tombstoned       bool   `json:"tombstoned"`
	TombstonedAt     int64  `json:"tombstoned_at"` // nanoseconds since the Unix epoch; Go's zero time when never
}

// debug answers with all records by "<category>:<topic>:<channel>".
func (a *api) debug(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	answer := map[string][]debugRecord{}
	for _, rec := range a.reg.Records() {
		info := rec.Peer.Info()
		key := rec.Category + ":" + rec.Topic + ":" + rec.Channel
		answer[key] = append(answer[key], debugRecord{
			ID: rec.Peer.RemoteAddress(), Hostname: info.Hostname, BroadcastAddress: info.BroadcastAddress,
			TCPPort: info.TCPPort, HTTPPort: info.HTTPPort, Version: info.Version,
			TopologyZone: info.TopologyZone, TopologyRegion: info.TopologyRegion,
			LastUpdate: rec.LastUpdate.UnixNano(), Tombstoned: rec.Tombstoned, TombstonedAt: rec.TombstonedAt.UnixNano(),
		})
	}
	return answer, nil
}
