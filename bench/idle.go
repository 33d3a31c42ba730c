package bench

import (
	"fmt"
	"net"
	"strings"
)

// connectIdle makes connections that say nothing. They are open until the run ends.
func (r *run) connectIdle() error {
	for n := range r.w.Idle {
		if r.soft.Err() != nil {
			return nil
		}
		address := strings.Split(r.t.Bootstrap, ",")
		conn, err := net.DialTimeout("tcp", address[n%len(address)], dialWithin)
		if err != nil {
			return fmt.Errorf("%d of %d idle connections were made: %w; the limit of open files, here or of the "+
				"broker, may be too low (ulimit -n)", n, r.w.Idle, err)
		}
		r.idle = append(r.idle, conn)
	}
	return nil
}
