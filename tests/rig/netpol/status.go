package main

import (
	"encoding/json"
	"net/http"
	"sync"

	"countersign.test/rig/netpol/rules"
)

// generation is what /generation prints: what the table in the kernel was made from.
type generation struct {
	Generation int               `json:"generation"` // counts the tables written
	Policies   int               `json:"policies"`
	Pods       int               `json:"pods"`
	Namespaces int               `json:"namespaces"`
	Isolated   int               `json:"isolated"`  // local addresses with a policy for either direction
	Applied    map[string]string `json:"applied"`   // namespace/name of each policy, to its resourceVersion
	Addresses  map[string]string `json:"addresses"` // namespace/name of each pod that has one, to its address
}

type status struct {
	mutex sync.Mutex
	last  generation
	text  string
	err   error
}

func (s *status) applied(in rules.Cluster, r *rules.Rules, text string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	next := generation{
		Generation: s.last.Generation,
		Policies:   len(in.Policies),
		Pods:       len(in.Pods),
		Namespaces: len(in.Namespaces),
		Isolated:   len(r.IsolatedAddrs()),
		Applied:    map[string]string{},
		Addresses:  map[string]string{},
	}
	if text != s.text {
		next.Generation++
	}
	for _, p := range in.Policies {
		next.Applied[p.Namespace+"/"+p.Name] = p.ResourceVersion
	}
	for _, p := range in.Pods {
		if p.Status.PodIP != "" {
			next.Addresses[p.Namespace+"/"+p.Name] = p.Status.PodIP
		}
	}
	s.last, s.text, s.err = next, text, nil
}

func (s *status) failed(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.err = err
}

func (s *status) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch {
	case r.URL.Path != "/healthz" && r.URL.Path != "/generation":
		http.NotFound(w, r)
	case s.err != nil:
		http.Error(w, s.err.Error(), http.StatusServiceUnavailable)
	case s.last.Generation == 0:
		http.Error(w, "no table written yet", http.StatusServiceUnavailable)
	case r.URL.Path == "/healthz":
		w.Write([]byte("ok\n"))
	default:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.last)
	}
}
