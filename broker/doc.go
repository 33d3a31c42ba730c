// Package broker is one node put together: log directories, metadata, replicas, handlers and the network. Open starts
// them in the order that lifecycle.go writes down, Close ends them in the reverse. It owns the connections' state:
// which request is under way, and the order of answers.
//
// It never decides what an answer says (broker/api does) nor where bytes lie (partition does). Everything from the
// world comes in through Env. The methods of front run on event loops; Open and Close are called once each, by the
// process.
package broker
