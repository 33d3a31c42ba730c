package tune

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// bufferFit fills a line of 10 Gbit/s with 3 ms of way.
const bufferFit = 4 << 20

// network judges queues and buffers between the broker and its clients.
func network(s Snapshot) []Finding {
	var found []Finding
	for _, c := range []sysctl{
		{key: "net.core.somaxconn", want: atLeast(Change, 1024),
			why: "So many new connections can wait to be accepted, and never more than socket.listen.backlog.size " +
				"(50): raise both where thousands of clients come back at once."},
		{key: "net.ipv4.tcp_max_syn_backlog", want: atLeast(Consider, 1024),
			why: "So many connections can be half open while clients come back at once."},
		{key: "net.core.wmem_max", want: atLeast(Consider, bufferFit),
			why: "The most that socket.send.buffer.bytes can ask for. Only where that is set to more than 212992, " +
				"for clients far away."},
		{key: "net.core.rmem_max", want: atLeast(Consider, bufferFit),
			why: "The most that socket.receive.buffer.bytes can ask for. Only where that is set to more than " +
				"212992, for clients far away."},
	} {
		found = append(found, c.judge(s)...)
	}
	found = append(found, tcpBuffers(s, "net.ipv4.tcp_wmem"), tcpBuffers(s, "net.ipv4.tcp_rmem"))
	found = append(found, sysctl{key: "net.ipv4.tcp_slow_start_after_idle", want: exactly(Consider, 0),
		why: "A connection that was silent for a moment begins slowly again, as if it were new: with clients some " +
			"milliseconds away each burst pays for it."}.judge(s)...)
	found = append(found, backlog(s)...)
	for _, device := range s.matching("sys/class/net/*/device/uevent") {
		found = append(found, card(s, strings.Split(device, "/")[3])...)
	}
	return found
}

// tcpBuffers judges how far the kernel lets a connection's buffer grow by itself.
func tcpBuffers(s Snapshot, key string) Finding {
	sizes := strings.Fields(s.Files[sysctl{key: key}.file()])
	f := Finding{Key: key, Verdict: Unknown, Found: "cannot be read",
		Why: "The third number is how far a connection's buffer grows by itself: of clients here, and of the " +
			"broker's where socket.*.buffer.bytes is -1."}
	if len(sizes) != 3 {
		return f
	}
	was := strings.Join(sizes, " ")
	f.Verdict, f.Found = Right, was
	if most, _ := strconv.ParseInt(sizes[2], 10, 64); most < bufferFit {
		f.Verdict = Consider
		f.set(key, was, fmt.Sprintf("%s %s %d", sizes[0], sizes[1], bufferFit))
	}
	return f
}

// backlogFit is ten times the kernel's default.
const backlogFit = 10_000

// backlog judges the queue between the cards' interrupts and the network stack by what it has dropped.
func backlog(s Snapshot) []Finding {
	const key = "net.core.netdev_max_backlog"
	var dropped uint64
	for line := range strings.Lines(s.Files["proc/net/softnet_stat"]) {
		if fields := strings.Fields(line); len(fields) > 1 {
			n, _ := strconv.ParseUint(fields[1], 16, 64)
			dropped += n
		}
	}
	return sysctl{
		key: key,
		want: func(_ Snapshot, n int64) (Verdict, int64) {
			if dropped == 0 || n >= backlogFit {
				return Right, 0
			}
			return Change, backlogFit
		},
		note: func(Snapshot, int64) string { return fmt.Sprintf(" (%d packets dropped since the start)", dropped) },
		why:  "Packets that find this queue full are dropped and have to be sent again.",
	}.judge(s)
}

// card judges the queues of a network card.
func card(s Snapshot, name string) []Finding {
	folder := "sys/class/net/" + name + "/"
	queues := s.matching(folder + "queues/rx-*/rps_cpus")
	cpus := s.CPUs()
	spread := slices.ContainsFunc(queues, func(file string) bool { return strings.Trim(s.Files[file], "0,") != "" })
	f := Finding{Key: "net." + name + ".queues", Verdict: Right,
		Found: fmt.Sprintf("%d for %d CPUs", len(queues), cpus),
		Why:   "With one queue a single processor takes all packets that come in: it is full before the others are."}
	switch {
	case spread:
		f.Found += ", packets are spread (RPS)"
	case len(queues) == 1 && cpus > 1:
		f.Verdict = Consider
		f.change(s, maskOf(cpus), queues...)
		f.Wanted = "packets spread over all CPUs (RPS)"
		f.ByHand = fmt.Sprintf("better, where the card can (ethtool -l %[1]s): ethtool -L %[1]s combined %[2]d", name,
			cpus)
	}
	var lost int64
	for _, counter := range []string{"rx_missed_errors", "rx_fifo_errors"} {
		n, _ := s.number(folder + "statistics/" + counter)
		lost += n
	}
	r := Finding{Key: "net." + name + ".ring", Verdict: Right,
		Found: fmt.Sprintf("%d packets lost since the start", lost),
		Why:   "Packets that find the card's ring full are lost and have to be sent again."}
	if lost > 0 {
		r.Verdict, r.Wanted = Consider, "a longer ring"
		r.ByHand = fmt.Sprintf("ethtool -g %s shows the longest, ethtool -G %s rx N sets it", name, name)
	}
	return []Finding{f, r}
}
