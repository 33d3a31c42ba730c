// Package config holds every knob of the broker: Keys is the one table of names, types, defaults, limits and reasons.
// Load reads a properties file, the environment and --set pairs into a Config, which is a value that never changes
// afterwards; TopicOverrides resolve to a typed Topic over it. With puts over it what is set at run time, and Live
// holds what is in force. The package reads no file, environment or host name itself: the caller hands them over as
// Sources. Any goroutine may use a Config.
package config
