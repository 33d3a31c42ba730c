package record

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if a codec leaves a goroutine behind: everything here runs on the caller's.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
