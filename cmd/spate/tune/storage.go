package tune

import (
	"fmt"
	"slices"
	"strings"
)

// storage judges the file systems of the log directories and the disks below them.
func storage(s Snapshot) []Finding {
	if len(s.Dirs) == 0 {
		return []Finding{{Key: "mount", Verdict: Unknown, Found: "no log directory was named",
			Why: "File systems, their mount options and the disks below them: name the directories of log.dirs."}}
	}
	var found []Finding
	var mounts, devices []string
	for _, d := range s.Dirs {
		if slices.Contains(mounts, d.Mount) {
			continue
		}
		mounts = append(mounts, d.Mount)
		found = append(found, fileSystem(d), options(d))
		for _, device := range d.Devices {
			if !slices.Contains(devices, device) {
				devices = append(devices, device)
				found = append(found, disk(s, device)...)
			}
		}
	}
	return found
}

// fileSystems says what to think of those that are no plain disk file system.
var fileSystems = map[string]struct {
	verdict Verdict
	why     string
}{
	"tmpfs": {Change, "It is memory: all records are gone when the machine stops, also those that were " +
		"acknowledged."},
	"ramfs": {Change, "It is memory: all records are gone when the machine stops, also those that were " +
		"acknowledged."},
	"overlay": {Change, "The writable layer of a container goes with the container, and its first write to a file " +
		"copies it: use a volume."},
	"nfs":  {Change, "Over a network a flush is slow and a file can go stale under the broker."},
	"nfs4": {Change, "Over a network a flush is slow and a file can go stale under the broker."},
	"cifs": {Change, "Over a network a flush is slow and a file can go stale under the broker."},
	"btrfs": {Consider, "It writes changed blocks elsewhere: blocks reserved ahead are used once, flushes cost " +
		"more, logs fragment."},
	"zfs": {Consider, "It writes changed blocks elsewhere: blocks reserved ahead are of no use, and the cache is " +
		"kept twice."},
	"vfat":  {Change, "It has no reserved blocks, no permissions, and files end at 4 GiB."},
	"exfat": {Change, "It has no reserved blocks and no journal."},
}

// fileSystem judges the type.
func fileSystem(d Dir) Finding {
	f := Finding{Key: "filesystem." + d.Mount, Verdict: Right, Found: d.Type,
		Why: "xfs and ext4 reserve blocks ahead of appends and flush one file without the others."}
	bad, listed := fileSystems[d.Type]
	switch {
	case listed:
		f.Verdict, f.Why = bad.verdict, bad.why
	case strings.HasPrefix(d.Type, "fuse"):
		f.Verdict, f.Why = Change, "A file system in a program: each read and write goes through another process, "+
			"and a flush means what that program makes of it."
	case d.Type == "xfs" || d.Type == "ext4":
	default:
		f.Verdict, f.Why = Consider, "Spate is tested on ext4 and xfs."
	}
	if f.Verdict != Right {
		f.Wanted, f.ByHand = "xfs or ext4", "move "+d.Name+" to a disk of its own with xfs or ext4"
	}
	return f
}

// mountOptions are those that matter, the gravest first.
var mountOptions = []struct {
	option  string
	verdict Verdict
	wanted  string
	why     string
}{
	{"ro", Change, "rw", "The broker cannot write."},
	{"nobarrier", Change, "barrier", "A flush does not reach the disk: a power cut takes acknowledged records."},
	{"barrier=0", Change, "barrier=1", "A flush does not reach the disk: a power cut takes acknowledged records."},
	{"sync", Change, "async", "Every write waits for the disk, though only a flush has to."},
	{"data=journal", Change, "data=ordered", "Every record is written twice."},
	{"strictatime", Change, "noatime", "Every read of a file writes its time of access."},
	{"discard", Consider, "nodiscard, and fstrim.timer", "Segments that retention deletes are told to the disk at " +
		"once, which can stand in the way of flushes; once a week does it too."},
}

// options judges how the file system is mounted.
func options(d Dir) Finding {
	f := Finding{Key: "mount." + d.Mount, Verdict: Right, Found: strings.Join(d.Options, ","),
		Why: "Flushes reach the disk, and reading writes nothing."}
	for _, o := range mountOptions {
		if !slices.Contains(d.Options, o.option) {
			continue
		}
		f.Verdict, f.Found, f.Wanted, f.Why = o.verdict, o.option, o.wanted, o.why
		how, _, _ := strings.Cut(o.wanted, ",")
		f.ByHand = fmt.Sprintf("mount -o remount,%s %s, and the same in /etc/fstab", how, d.Mount)
		if strings.HasPrefix(how, "data=") { // the kernel refuses it while the file system is mounted
			f.ByHand = fmt.Sprintf("stop the broker, change it in /etc/fstab, then umount %s and mount it again",
				d.Mount)
		}
		break
	}
	return f
}

// readAheadFit is the kernel's own default: enough for consumers that catch up.
const readAheadFit = 128

// disk judges the queue of a disk.
func disk(s Snapshot, name string) []Finding {
	folder := "sys/block/" + name + "/queue/"
	scheduler, found := s.Files[folder+"scheduler"]
	if !found {
		return nil // made of others, or no disk
	}
	key := "disk." + name
	rotates := s.Files[folder+"rotational"] == "1"
	f := Finding{Key: key + ".scheduler", Verdict: Right, Found: chosen(scheduler),
		Why: "none and mq-deadline hand writes and flushes on. bfq and kyber hold some back to share the disk " +
			"among processes, and a broker has it for itself."}
	want := "none"
	if rotates {
		want = "mq-deadline"
	}
	if f.Found != "none" && f.Found != "mq-deadline" {
		f.Verdict = Change
		if offers(scheduler, want) {
			f.change(s, want, folder+"scheduler")
		} else {
			f.Wanted, f.ByHand = want, "load it first: modprobe "+want
		}
	}
	r := Finding{Key: key + ".read_ahead_kb", Verdict: Right, Found: s.Files[folder+"read_ahead_kb"],
		Why: "Consumers that catch up read a log from front to back: with less the disk is asked in small pieces."}
	if n, known := s.number(folder + "read_ahead_kb"); known && n < readAheadFit {
		r.Verdict = Consider
		r.change(s, fmt.Sprint(readAheadFit), folder+"read_ahead_kb")
	}
	return []Finding{f, r}
}
