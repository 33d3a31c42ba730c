//go:build invariants

package invariant

// Enabled turns on the costly checks.
const Enabled = true
