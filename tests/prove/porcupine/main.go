// Judges recorded histories with porcupine, a linearizability checker that is not ours.
//
// Each line of each file is one operation, JSON: its history (operations of different histories never meet), its key,
// its kind, when it was called and when it returned in nanoseconds of one monotonic clock (return null: the outcome is
// not known, so it may take effect at any later time, or never), what was written and what was answered.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// line is one operation as it was recorded.
type line struct {
	History string `json:"history"`
	Key     string `json:"key"`
	Client  int    `json:"client"`
	// read, write, create, delete, replace
	Kind   string `json:"kind"`
	Call   int64  `json:"call"`
	Return *int64 `json:"return"`
	// What was to be written.
	Value string `json:"value"`
	// The revision that a `replace` expects.
	Expected uint64 `json:"expected"`
	// Whether a `create`, `delete` or `replace` took effect, or a `read` or `write` found the key.
	Found bool `json:"found"`
	// What was read.
	Seen string `json:"seen"`
	// The revision that was answered.
	Revision uint64 `json:"revision"`
}

type output struct {
	found    bool
	seen     string
	revision uint64
	unknown  bool
}

// state of one key. A key that is absent has no value and no revision.
type state struct {
	present  bool
	value    string
	revision uint64
}

// The specification of a key: a register with a revision that each write raises by one, which can be created, deleted,
// and replaced on condition of its revision.
var model = porcupine.Model{
	Init: func() interface{} { return state{} },
	Step: func(s, in, out interface{}) (bool, interface{}) {
		now, operation, answer := s.(state), in.(line), out.(output)
		next, done, revision := now, now.present, now.revision
		switch operation.Kind {
		case "read":
			return answer.found == now.present && (!now.present || answer.seen == now.value && answer.revision == now.revision), now
		case "write":
			if now.present {
				next = state{true, operation.Value, now.revision + 1}
				revision = next.revision
			}
		case "create":
			done, revision = !now.present, 0
			if done {
				next = state{true, operation.Value, 0}
			}
		case "delete":
			next, revision = state{}, 0
		case "replace":
			// A policy: absent is revision 0, and each replacement raises it.
			done = operation.Expected == now.revision
			if done {
				next = state{true, operation.Value, now.revision + 1}
				revision = next.revision
			} else {
				revision = 0
			}
		default:
			panic("no such kind of operation: " + operation.Kind)
		}
		if answer.unknown {
			return true, next
		}
		return answer.found == done && (!done || answer.revision == revision), next
	},
	DescribeOperation: func(in, out interface{}) string {
		operation, answer := in.(line), out.(output)
		return fmt.Sprintf("%s %s %q → %+v", operation.Kind, operation.Key, operation.Value, answer)
	},
}

const patience = 60 * time.Second

type group struct{ history, key string }

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: porcupine FILE…: files of operations, one JSON object a line")
		os.Exit(2)
	}
	groups := map[group][]line{}
	for _, path := range os.Args[1:] {
		if err := read(path, groups); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(2)
		}
	}
	names := make([]group, 0, len(groups))
	operations := 0
	for name := range groups {
		names = append(names, name)
		operations += len(groups[name])
	}
	sort.Slice(names, func(a, b int) bool {
		return names[a].history < names[b].history || names[a].history == names[b].history && names[a].key < names[b].key
	})
	violations, undecided := 0, 0
	for _, name := range names {
		switch porcupine.CheckOperationsTimeout(model, history(groups[name]), patience) {
		case porcupine.Ok:
		case porcupine.Illegal:
			violations++
			fmt.Printf("not linearizable: %s, key %s (%d operations)\n", name.history, name.key, len(groups[name]))
		case porcupine.Unknown:
			undecided++
			fmt.Printf("not decided within %s: %s, key %s (%d operations)\n", patience, name.history, name.key, len(groups[name]))
		}
	}
	fmt.Printf("porcupine: histories %d, operations %d, violations %d, undecided %d\n", len(names), operations, violations, undecided)
	if violations+undecided > 0 {
		os.Exit(1)
	}
}

func read(path string, groups map[group][]line) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(make([]byte, 1<<20), 1<<20)
	for number := 1; scanner.Scan(); number++ {
		var operation line
		if err := json.Unmarshal(scanner.Bytes(), &operation); err != nil {
			return fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		name := group{operation.History, operation.Key}
		groups[name] = append(groups[name], operation)
	}
	return scanner.Err()
}

// history is what porcupine takes. A write whose outcome is not known but whose value somebody saw took effect before
// that reader's answer: saying so changes no verdict and spares the search.
func history(lines []line) []porcupine.Operation {
	seen := map[string]int64{}
	for _, operation := range lines {
		if operation.Kind == "read" && operation.Found && operation.Return != nil {
			if first, is := seen[operation.Seen]; !is || *operation.Return < first {
				seen[operation.Seen] = *operation.Return
			}
		}
	}
	operations := make([]porcupine.Operation, 0, len(lines))
	for _, operation := range lines {
		done := porcupine.Operation{ClientId: operation.Client, Input: operation, Call: operation.Call}
		answer := output{found: operation.Found, seen: operation.Seen, revision: operation.Revision}
		if operation.Return != nil {
			done.Return = *operation.Return
		} else {
			answer.unknown = true
			done.Return = math.MaxInt64
			if first, is := seen[operation.Value]; is && operation.Value != "" && first > operation.Call {
				done.Return = first
			}
		}
		done.Output = answer
		operations = append(operations, done)
	}
	return operations
}
