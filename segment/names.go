package segment

import (
	"strconv"

	"spate/kafka"
)

// The ends of file names. The indexes' are in package index.
const (
	LogSuffix = ".log"
	// DeletedSuffix is added to the name of a file that is going to be removed.
	DeletedSuffix = ".deleted"
	// CleanedSuffix is added to the name of a file that is being written to replace another, and is worth nothing after
	// a crash.
	CleanedSuffix = ".cleaned"
)

// nameDigits is the width of the base offset in a file name: enough for every int64.
const nameDigits = 20

// FileName gives the base offset, padded with zeros to 20 digits, and the suffix.
func FileName(base kafka.Offset, suffix string) string {
	var digits [nameDigits]byte
	for i := range digits {
		digits[nameDigits-1-i] = byte('0' + base%10)
		base /= 10
	}
	return string(digits[:]) + suffix
}

// ParseFileName splits a name that FileName made; the suffix is all that follows the digits.
func ParseFileName(name string) (base kafka.Offset, suffix string, ok bool) {
	if len(name) < nameDigits {
		return 0, "", false
	}
	for _, c := range name[:nameDigits] {
		if c < '0' || c > '9' {
			return 0, "", false
		}
	}
	n, err := strconv.ParseInt(name[:nameDigits], 10, 64)
	if err != nil {
		return 0, "", false
	}
	return kafka.Offset(n), name[nameDigits:], true
}
