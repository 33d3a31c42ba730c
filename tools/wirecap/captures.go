package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"spate/kafka/wire"
)

// pairBytesMax bounds a captured request and its response together, so that all of them are a small folder.
const pairBytesMax = 3000

// captures keeps, for each API key and version, one exchange within the bound: a real client's rather than the
// driver's, and then the longest, which says most.
type captures struct {
	mutex sync.Mutex
	pairs map[[2]int16]pair
}

type pair struct {
	request, response []byte
	driver            bool // whether our own driver asked
}

func (p pair) length() int { return len(p.request) + len(p.response) }

func (p pair) better(than pair) bool {
	if p.driver != than.driver && than.length() > 0 {
		return than.driver
	}
	return p.length() > than.length()
}

func newCaptures() *captures { return &captures{pairs: map[[2]int16]pair{}} }

func (c *captures) add(request, response []byte) {
	h, _, err := wire.ParseHeader(request[4:])
	if err != nil {
		return
	}
	p := pair{request, response, string(h.ClientID) == driverID}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if key := [2]int16{h.Key, h.Version}; p.length() <= pairBytesMax && p.better(c.pairs[key]) {
		c.pairs[key] = p
	}
}

// write puts the captures into dir and gives the number of files. Versions that were never seen are an error.
func (c *captures) write(dir string) (files int, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for i := range wire.Served {
		row := &wire.Served[i]
		for version := row.Min; version <= row.Max; version++ {
			p, seen := c.pairs[[2]int16{row.Key, version}]
			if !seen {
				err = errors.Join(err, fmt.Errorf("%s v%d was not seen", row.Name, version))
				continue
			}
			h, _, _ := wire.ParseHeader(p.request[4:])
			name := filepath.Join(dir, fmt.Sprintf("%02d_%s_v%d", row.Key, snake(row.Name), version))
			comment := fmt.Sprintf("# client id: %s\n", h.ClientID)
			err = errors.Join(err,
				os.WriteFile(name+"_request.hex", []byte(comment+dump(p.request)), 0o644),
				os.WriteFile(name+"_response.hex", []byte(comment+dump(p.response)), 0o644))
			files += 2
		}
	}
	return files, err
}

// snake turns a name like ListOffsets into list_offsets.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// dump writes hexadecimal digits, 48 bytes a line.
func dump(frame []byte) string {
	var b strings.Builder
	for len(frame) > 0 {
		n := min(48, len(frame))
		b.WriteString(hex.EncodeToString(frame[:n]) + "\n")
		frame = frame[n:]
	}
	return b.String()
}
