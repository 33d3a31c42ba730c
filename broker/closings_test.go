package broker

import (
	"testing"
	"time"
)

func TestClosingsAreLoggedSparingly(t *testing.T) {
	var c closings
	now := time.Unix(1000, 0)
	logged, told := 0, 0
	for i := range 1000 {
		may, hushed := c.may(now.Add(time.Duration(i) * time.Millisecond))
		if may {
			logged++
			told += hushed
		}
	}
	if logged != closingsPerSecond || told != 0 {
		t.Errorf("%d logged, %d told of", logged, told)
	}
	may, hushed := c.may(now.Add(2 * time.Second))
	if !may || hushed != 1000-closingsPerSecond {
		t.Errorf("a second later: %v, %d told of", may, hushed)
	}
	if _, hushed := c.may(now.Add(2 * time.Second)); hushed != 0 {
		t.Errorf("told twice of %d", hushed)
	}
}
