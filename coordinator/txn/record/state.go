package record

// State is how far a transaction has come, with Kafka's numbers.
type State int8

// The states. Two of them are Kafka's alone, for what it has under way in memory: an id that is about to expire, and a
// producer that is about to be fenced. No log holds them.
const (
	Empty             State = iota // nothing has been added yet
	Ongoing                        // partitions have been added
	PrepareCommit                  // commit is decided, and markers are being written
	PrepareAbort                   // abort is decided, and markers are being written
	CompleteCommit                 // every partition has its marker
	CompleteAbort                  // every partition has its marker
	Dead                           //
	PrepareEpochFence              //
)

var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort",
	"Dead", "PrepareEpochFence"}

// StateCount is how many states there are.
const StateCount = len(stateNames)

// String is Kafka's name of the state, as clients see it.
func (s State) String() string { return stateNames[s] }

// StateNamed finds a state by its name, in Kafka's spelling.
func StateNamed(name string) (State, bool) {
	for s, n := range stateNames {
		if n == name {
			return State(s), true
		}
	}
	return 0, false
}

// IsPrepared tells whether the end of the transaction is decided and not all markers are written.
func (s State) IsPrepared() bool { return s == PrepareCommit || s == PrepareAbort }

// IsComplete tells whether the last transaction has ended and no other has begun.
func (s State) IsComplete() bool { return s == CompleteCommit || s == CompleteAbort }
