// Package compat holds the tests that run other people's Kafka clients and tools, unmodified, against the real
// binary, or against any broker that -bootstrap names. It installs those clients at fixed versions into the user's
// cache directory, and owns every process that it starts.
package compat
