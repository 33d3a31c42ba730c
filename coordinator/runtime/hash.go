package runtime

// hashOf is Java's String.hashCode, by which Kafka spreads groups over partitions: it counts UTF-16 code units. Bytes
// that are not UTF-8 count as U+FFFD each, which is what Java's decoder makes of them.
func hashOf(key string) int32 {
	var h int32
	for _, r := range key {
		if r < 0x10000 {
			h = 31*h + int32(r)
			continue
		}
		r -= 0x10000
		h = 31*h + int32(0xd800+r>>10)
		h = 31*h + int32(0xdc00+r&0x3ff)
	}
	return h
}
