package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

const (
	maxRefusal  = 64 << 10        // bytes that are read of an answer other than 200
	largeReads  = 4               // large answers that are read at once
	patientRead = 2 * time.Second // for one of them while others wait
)

// reads bounds what answers take that are being read: each up to largeAnswer, and a few at once beyond that.
type reads struct {
	places  chan struct{}
	waiting atomic.Int32
}

func newReads() reads { return reads{places: make(chan struct{}, largeReads)} }

// errSlow ends the reading of a large answer that others wait for.
var errSlow = errors.New("a large answer came slowly while others waited for their turn")

// all reads an answer of maxAnswer bytes at most.
func (r *reads) all(ctx context.Context, body io.Reader) ([]byte, error) {
	var b bytes.Buffer
	switch n, err := io.CopyN(&b, body, largeAnswer); {
	case errors.Is(err, io.EOF):
		return b.Bytes(), nil
	case err != nil || n < largeAnswer:
		return nil, err
	}
	r.waiting.Add(1)
	select {
	case r.places <- struct{}{}:
		r.waiting.Add(-1)
	case <-ctx.Done():
		r.waiting.Add(-1)
		return nil, ctx.Err()
	}
	defer func() { <-r.places }()
	began := time.Now()
	for {
		_, err := io.CopyN(&b, body, 4*largeAnswer)
		switch {
		case errors.Is(err, io.EOF) && b.Len() <= maxAnswer:
			return b.Bytes(), nil
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case b.Len() > maxAnswer:
			return nil, fmt.Errorf("it is over %d bytes", maxAnswer)
		case r.waiting.Load() > 0 && time.Since(began) > patientRead:
			return nil, errSlow
		}
	}
}
