package spec

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// FromYAML reads the kind and the keys of a workload from a YAML file:
//
//	workload: e2e
//	rate: 10000
//	topic-config: {segment.bytes: 104857600}
//
// A list is the values with commas between them, and a map likewise key=value. An error names the line.
func FromYAML(text []byte) (kind string, given map[string]string, err error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return "", nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return "", nil, errors.New("want keys and values, the first of them workload: e2e, say")
	}
	given = map[string]string{}
	pairs := document.Content[0].Content
	for n := 0; n+1 < len(pairs); n += 2 {
		key, value := pairs[n], pairs[n+1]
		text, err := flat(value)
		if err != nil {
			return "", nil, fmt.Errorf("line %d: %s: %w", value.Line, key.Value, err)
		}
		name := strings.ReplaceAll(key.Value, "_", "-")
		if _, twice := given[name]; twice {
			return "", nil, fmt.Errorf("line %d: %s is there twice", key.Line, key.Value)
		}
		given[name] = text
	}
	kind, ok := given["workload"]
	if !ok {
		return "", nil, fmt.Errorf("workload: it is not there; it says which of %s this is",
			strings.Join(Kinds(), ", "))
	}
	delete(given, "workload")
	return kind, given, nil
}

// flat is a value as a flag would have it.
func flat(value *yaml.Node) (string, error) {
	var parts []string
	switch value.Kind {
	case yaml.ScalarNode:
		if value.Tag == "!!null" {
			return "", nil
		}
		return value.Value, nil
	case yaml.SequenceNode:
		for _, one := range value.Content {
			if one.Kind != yaml.ScalarNode {
				return "", errors.New("a list holds plain values here")
			}
			parts = append(parts, one.Value)
		}
	case yaml.MappingNode:
		for n := 0; n+1 < len(value.Content); n += 2 {
			if value.Content[n+1].Kind != yaml.ScalarNode {
				return "", errors.New("a map holds plain values here")
			}
			parts = append(parts, value.Content[n].Value+"="+value.Content[n+1].Value)
		}
	default:
		return "", errors.New("want a plain value, a list or a map")
	}
	return strings.Join(parts, ","), nil
}
