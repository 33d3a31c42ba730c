package tune

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Select gives the findings that keys name, in the order of the keys. A key that names none, or one that --apply cannot
// change, is an error; one that is right already is given as it is.
func Select(findings []Finding, keys []string) ([]Finding, error) {
	var chosen []Finding
	var wrong []error
	for _, key := range keys {
		f, found := find(findings, key)
		switch {
		case !found:
			wrong = append(wrong, fmt.Errorf("no setting is called %s; those found are listed without --apply", key))
		case f.Verdict == Unknown:
			wrong = append(wrong, fmt.Errorf("%s %s: it is left as it is", key, f.Found))
		case f.Verdict != Right && len(f.Writes) == 0:
			wrong = append(wrong, fmt.Errorf("%s is nothing that can be set here; by hand: %s", key, f.ByHand))
		default:
			chosen = append(chosen, f)
		}
	}
	return chosen, errors.Join(wrong...)
}

// find finds a finding by its key.
func find(findings []Finding, key string) (Finding, bool) {
	for _, f := range findings {
		if f.Key == key {
			return f, true
		}
	}
	return Finding{}, false
}

// Apply writes one finding's values below root and looks whether the kernel took them. On an error what was written
// before it is taken back.
func Apply(root string, f Finding) error {
	for i, w := range f.Writes {
		err := put(root, w)
		if err == nil {
			continue
		}
		for _, u := range f.Undo[:i] {
			err = errors.Join(err, put(root, u))
		}
		return fmt.Errorf("%s: %w", f.Key, err)
	}
	return nil
}

// put writes a value and reads it back.
func put(root string, w Write) error {
	path := filepath.Join(root, w.File)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(w.Value + "\n")
		err = errors.Join(err, f.Close())
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return errors.New("only root may change it: run this with sudo")
	case errors.Is(err, syscall.EROFS):
		return errors.New("it is read-only here, as in a container: change it on the host")
	case err != nil:
		return err
	}
	text, err := readText(path)
	if err != nil {
		return err
	}
	got := strings.Join(strings.Fields(chosen(text)), " ")
	if strings.TrimLeft(got, "0,") != strings.TrimLeft(w.Value, "0,") { // a mask comes back with zeros before it
		return fmt.Errorf("the kernel made %q of it", got)
	}
	return nil
}

// Command is the command line that writes a value below root.
func (w Write) Command(root string) string {
	if key, found := strings.CutPrefix(w.File, "proc/sys/"); found && filepath.Clean(root) == "/" {
		key = strings.ReplaceAll(key, "/", ".")
		if strings.Contains(w.Value, " ") {
			return fmt.Sprintf("sysctl -w %s='%s'", key, w.Value)
		}
		return fmt.Sprintf("sysctl -w %s=%s", key, w.Value)
	}
	return fmt.Sprintf("echo %s > %s", w.Value, filepath.Join(root, w.File))
}
