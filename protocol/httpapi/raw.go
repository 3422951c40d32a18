package httpapi

import "context"

// Do sends a request with the body as it is and returns the answer as it is, for what is not JSON, or not only. The error is a
// *StatusError for an answer other than 200.
func (c *HTTPClient) Do(ctx context.Context, method, rawURL string, body []byte) ([]byte, error) {
	answer, err := c.send(ctx, method, rawURL, body)
	if err == nil {
		return answer, nil
	}
	if rawURL, err = secureURL(rawURL, err); err != nil {
		return nil, err
	}
	return c.send(ctx, method, rawURL, body)
}
