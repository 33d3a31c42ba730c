package wire

// shape is the layout of a request's body, or of the elements of an array in it: its fields in order, as in Kafka's
// schema. DecodeRequest walks the body along it before kmsg does, because kmsg believes an array's count as long as one
// byte an element is left, makes a map of unknown tagged fields, and does not say what it left unread.
type shape []field

// field is one field of a shape.
type field struct {
	name     string // Kafka's name
	kind     kind
	since    int16 // first version that has the field
	until    int16 // last version that has it; 0 for no end
	nullable int16 // first version in which it may be null; 0 for never, always for all
	// elements is the fields of a structure, or of an array's element; of an array of values, one field without a name.
	elements shape
}

// always, as field.nullable, allows null in every version.
const always = -1

type kind uint8

const (
	int8Kind kind = iota
	int16Kind
	int32Kind
	int64Kind
	uuidKind
	stringKind
	bytesKind
	arrayKind
	arrayOfValuesKind // whose elements are not structures: no tagged fields in them
	structureKind     // that may be null: a byte before it says so
)

// fixedBytes is the length of a value, by kind; 0 where it varies.
var fixedBytes = [...]int{int8Kind: 1, int16Kind: 2, int32Kind: 4, int64Kind: 8, uuidKind: 16, arrayOfValuesKind: 0}

func (f *field) in(version int16) bool {
	return f.since <= version && (f.until == 0 || version <= f.until)
}

func (f *field) nullableIn(version int16) bool {
	return f.nullable == always || f.nullable != 0 && f.nullable <= version
}

// walker checks a body against a shape. Unknown tagged fields are cut out, so that the decoder never sees them.
type walker struct {
	reader
	version int16
	pruned  []byte // the body so far without unknown tagged fields; nil as long as none was met
	copied  int    // bytes of src that pruned accounts for
}

// walk checks that body begins with a value of the row's shape, and gives that value without unknown tagged fields. The
// error is a *DecodeError, or a *LeftOverError beside the value.
func walk(body []byte, row *API, version int16) ([]byte, error) {
	w := walker{reader: reader{src: body, flexible: version >= row.Flexible}, version: version}
	w.structure(row.body)
	if !w.ok() {
		return nil, w.error(row.Key, version)
	}
	value := body[:w.pos]
	if w.pruned != nil {
		value = append(w.pruned, body[w.copied:w.pos]...)
	}
	return value, w.end(row.Key, version)
}

// structure reads the fields of s that the version has, and the tagged fields after them.
func (w *walker) structure(s shape) {
	w.values(s)
	if w.flexible {
		w.pruneTags()
	}
}

func (w *walker) values(s shape) {
	for i := range s {
		f := &s[i]
		if !f.in(w.version) {
			continue
		}
		w.value(f)
		if !w.ok() {
			if w.field == "" {
				w.field = f.name // the innermost one
			}
			return
		}
	}
}

func (w *walker) value(f *field) {
	switch f.kind {
	case stringKind:
		if w.nullableString() == nil && !f.nullableIn(w.version) {
			w.fail(nullField)
		}
	case bytesKind:
		if w.nullableBytes() == nil && !f.nullableIn(w.version) {
			w.fail(nullField)
		}
	case arrayKind, arrayOfValuesKind:
		w.eachElement(f)
	case structureKind:
		w.nullableStructure(f)
	default:
		w.span(fixedBytes[f.kind])
	}
}

// nullableStructure reads a structure behind the byte that says whether there is one.
func (w *walker) nullableStructure(f *field) {
	switch present := w.int8(); {
	case !w.ok():
	case present == 1:
		w.structure(f.elements)
	case present != -1:
		w.fail(badPresence)
	}
}

func (w *walker) eachElement(f *field) {
	n := w.nullableArray(w.least(f))
	if n == lengthNull && !f.nullableIn(w.version) {
		w.fail(nullField)
	}
	for i := 0; i < n && w.ok(); i++ {
		if f.kind == arrayKind {
			w.structure(f.elements)
		} else {
			w.values(f.elements)
		}
	}
}

// least is the length of the smallest element of f.
func (w *walker) least(f *field) int {
	n := 0
	if f.kind == arrayKind && w.flexible {
		n++ // the count of tagged fields
	}
	for i := range f.elements {
		e := &f.elements[i]
		switch {
		case !e.in(w.version):
		case fixedBytes[e.kind] > 0:
			n += fixedBytes[e.kind]
		case w.flexible:
			n++
		case e.kind == stringKind:
			n += 2
		default:
			n += 4
		}
	}
	return n
}

// pruneTags passes over tagged fields. None of the shapes has a known one.
func (w *walker) pruneTags() {
	start := w.pos
	w.skipTags()
	if w.ok() && w.pos > start+1 {
		w.pruned = append(w.pruned, w.src[w.copied:start]...)
		w.pruned = append(w.pruned, 0)
		w.copied = w.pos
	}
}
