package vfs

import (
	"fmt"
	"runtime/debug"
	"syscall"
)

// FaultError is a mapped page that could not be read: the disk failed below it, or the file became shorter than what is
// mapped. It unwraps to EIO.
type FaultError struct {
	Address uintptr
}

// Error names the address.
func (e *FaultError) Error() string {
	return fmt.Sprintf("mapped page at %#x: input/output error", e.Address)
}

// Unwrap gives EIO.
func (*FaultError) Unwrap() error { return syscall.EIO }

// Guard runs read, which touches mapped bytes, and turns a fault on them into a *FaultError. Any other panic passes.
func Guard(read func() error) (err error) {
	before := debug.SetPanicOnFault(true) // of this goroutine
	defer catchFault(before, &err)
	return read()
}

// catchFault is deferred by itself, since only then recover sees the panic.
func catchFault(before bool, err *error) {
	debug.SetPanicOnFault(before)
	cause := recover()
	if cause == nil {
		return
	}
	fault, ok := cause.(interface{ Addr() uintptr }) // runtime.Error of a fault, and of nothing else
	if !ok {
		panic(cause)
	}
	*err = &FaultError{Address: fault.Addr()}
}
