package storage

import "slices"

// Note is something worth knowing that is not damage.
type Note struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// Report is what Verify found.
type Report struct {
	Partitions int       `json:"partitions"`
	Segments   int       `json:"segments"`
	Batches    int64     `json:"batches"`
	Records    int64     `json:"records"`
	Bytes      int64     `json:"bytes"` // of whole batches
	Damages    []*Damage `json:"damages"`
	Notes      []Note    `json:"notes"`
}

// damage adds a damage.
func (r *Report) damage(d *Damage) { r.Damages = append(r.Damages, d) }

// note adds a note, once.
func (r *Report) note(file, text string) {
	if n := (Note{file, text}); !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}
