package rules

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// The fixture: two namespaces, and an address outside the cluster. `old` has ended and left its address to `db`;
// `host` is on the node's own network; `far` runs on another node.
const pods = `
- {metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: n1, containers: [{ports: [{name: http, containerPort: 8080}]}]}, status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}}
- {metadata: {name: db, namespace: shop, labels: {app: db, tier: back}}, spec: {nodeName: n1, containers: [{ports: [{name: http, containerPort: 5432}]}]}, status: {podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}}
- {metadata: {name: old, namespace: shop, labels: {app: web}}, spec: {nodeName: n1}, status: {podIP: 10.0.0.2, phase: Succeeded}}
- {metadata: {name: tool, namespace: ops, labels: {app: tool}}, spec: {nodeName: n1, containers: [{}]}, status: {podIP: 10.0.0.3, podIPs: [{ip: 10.0.0.3}, {ip: "fd00::3"}]}}
- {metadata: {name: far, namespace: shop, labels: {app: web}}, spec: {nodeName: n2, containers: [{}]}, status: {podIP: 10.0.0.4}}
- {metadata: {name: host, namespace: shop, labels: {app: web}}, spec: {nodeName: n1, hostNetwork: true}, status: {podIP: 10.9.9.9}}
- {metadata: {name: starting, namespace: shop, labels: {app: web}}, spec: {nodeName: n1}, status: {}}
`

const namespaces = `
- {metadata: {name: shop, labels: {team: shop}}}
- {metadata: {name: ops, labels: {team: ops}}}
`

var hosts = map[string]string{"web": "10.0.0.1", "db": "10.0.0.2", "tool": "10.0.0.3", "far": "10.0.0.4", "host": "10.9.9.9", "outside": "192.0.2.7", "hole": "192.0.2.1"}

func compiled(t *testing.T, specs ...string) *Rules {
	t.Helper()
	var in Cluster
	for text, to := range map[string]any{pods: &in.Pods, namespaces: &in.Namespaces} {
		if err := yaml.UnmarshalStrict([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
	for i, spec := range specs {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i), Namespace: "shop"}}
		if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
			t.Fatal(err)
		}
		in.Policies = append(in.Policies, p)
	}
	return Compile("n1", in)
}

func TestPoliciesAllowExactlyWhatTheySay(t *testing.T) {
	for name, c := range map[string]struct {
		policies      []string
		allow, refuse string // "source destination protocol port", separated by commas
	}{
		"without a policy everything passes": {nil, "web db TCP 1, outside web UDP 9", ""},
		"a policy without rules or types denies ingress only": {[]string{`podSelector: {}`},
			"web outside TCP 80, web tool TCP 80, tool far TCP 80", "tool web TCP 80, outside db TCP 80, web db UDP 1"},
		"egress rules make a policy without types one for both": {[]string{`{podSelector: {matchLabels: {app: web}}, egress: [{}]}`},
			"web tool TCP 1", "tool web TCP 1"},
		"an egress policy without rules denies all that leaves": {[]string{`{podSelector: {}, policyTypes: [Egress]}`},
			"tool web TCP 1", "web tool TCP 1, web db TCP 1, db outside SCTP 1"},
		"an empty rule allows all":                 {[]string{`{podSelector: {}, ingress: [{}]}`}, "tool web TCP 1, outside db SCTP 9", ""},
		"empty lists of peers and ports allow all": {[]string{`{podSelector: {}, ingress: [{from: [], ports: []}]}`}, "tool web TCP 1", ""},
		"a pod selector means the policy's own namespace": {[]string{`{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}`},
			"web db TCP 1, far db TCP 1, tool web TCP 1", "tool db TCP 1, outside db TCP 1"},
		"a namespace selector means all its pods": {[]string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}}]}]}`},
			"tool db TCP 1", "web db TCP 1, outside db TCP 1"},
		"both selectors in one peer must match": {[]string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}]}]}`},
			"web db TCP 1, far db TCP 1", "tool db TCP 1"},
		"two peers are alternatives": {[]string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}}, {podSelector: {matchLabels: {app: web}}}]}]}`},
			"web db TCP 1, tool db TCP 1", "db web TCP 1"},
		"expressions select, and NotIn takes pods without the key": {[]string{`{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [front]}, {key: app, operator: In, values: [db, x]}]}}`},
			"tool web TCP 1", "tool db TCP 1"},
		"Exists and DoesNotExist select": {[]string{`{podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}, ingress: [{from: [{podSelector: {matchExpressions: [{key: tier, operator: Exists}]}}]}]}`},
			"db web TCP 1, tool db TCP 1", "far web TCP 1"},
		"an address block has holes": {[]string{`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.0/30, 192.0.2.1/32]}}]}]}`},
			"outside web TCP 1", "hole web TCP 1, tool web TCP 1"},
		"the hole of one peer does not narrow another": {[]string{`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.1/32]}}, {ipBlock: {cidr: 192.0.2.1/32}}]}]}`},
			"outside web TCP 1, hole web TCP 1", ""},
		"a block that cannot be read allows nothing": {[]string{`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24, except: [nonsense]}}]}]}`},
			"", "outside web TCP 1"},
		"a port has a protocol, TCP unless said": {[]string{`{podSelector: {}, ingress: [{ports: [{port: 53, protocol: UDP}, {port: 80}]}]}`},
			"tool web UDP 53, tool web TCP 80", "tool web TCP 53, tool web UDP 80, tool web SCTP 80"},
		"a protocol alone means all its ports": {[]string{`{podSelector: {}, ingress: [{ports: [{protocol: SCTP}]}]}`},
			"tool web SCTP 1, tool web SCTP 65535", "tool web TCP 1"},
		"ranges include their ends and may overlap": {[]string{`{podSelector: {}, ingress: [{ports: [{port: 100, endPort: 200}, {port: 150, endPort: 300}, {port: 301}]}]}`},
			"tool web TCP 100, tool web TCP 201, tool web TCP 301", "tool web TCP 99, tool web TCP 302"},
		"a name means each pod's own port": {[]string{`{podSelector: {}, ingress: [{ports: [{port: http}]}]}`},
			"tool web TCP 8080, tool db TCP 5432", "tool web TCP 5432, tool db TCP 8080, tool web UDP 8080"},
		"for egress a name means the peer's port": {[]string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}`},
			"web db TCP 5432", "web db TCP 8080, web tool TCP 5432, web outside TCP 5432"},
		"policies add up": {[]string{`{podSelector: {}}`, `{podSelector: {}, ingress: [{ports: [{port: 1}]}]}`, `{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 2}]}]}`},
			"tool web TCP 1, tool web TCP 2, tool db TCP 1", "tool db TCP 2, tool web TCP 3"},
		"a packet needs both ends": {[]string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{}]}`, `{podSelector: {matchLabels: {app: db}}}`},
			"web tool TCP 1", "web db TCP 1"},
		"a pod reaches itself":                            {[]string{`{podSelector: {}, policyTypes: [Ingress, Egress]}`}, "web web TCP 1", "web db TCP 1"},
		"pods of other nodes are left to them":            {[]string{`{podSelector: {}}`}, "tool far TCP 1", "far web TCP 1"},
		"pods on the node's network are not selected":     {[]string{`{podSelector: {}, policyTypes: [Ingress, Egress]}`}, "tool host TCP 1, host tool TCP 1", "host web TCP 1"},
		"pods on the node's network are not peers":        {[]string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`}, "tool web TCP 1", "host web TCP 1"},
		"a pod that ended does not speak for its address": {[]string{`{podSelector: {matchLabels: {app: web}}}`}, "tool db TCP 1", "tool web TCP 1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := compiled(t, c.policies...)
			for list, want := range map[string]bool{c.allow: true, c.refuse: false} {
				for _, text := range strings.Split(list, ",") {
					var p Packet
					var src, dst string
					if n, _ := fmt.Sscan(text, &src, &dst, (*string)(&p.Proto), &p.Port); n == 4 {
						p.Src, p.Dst = netip.MustParseAddr(hosts[src]), netip.MustParseAddr(hosts[dst])
						if r.Allows(p) != want {
							t.Errorf("%s: allowed is not %t", text, want)
						}
					} else if list != "" {
						t.Fatalf("cannot read %q", text)
					}
				}
			}
		})
	}
}

func TestTheOrderOfTheClusterDoesNotChangeTheTable(t *testing.T) {
	var in Cluster
	if err := yaml.Unmarshal([]byte(pods), &in.Pods); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		in.Policies = append(in.Policies, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}})
	}
	before := Compile("n1", in).Table("t")
	in.Policies[0], in.Policies[1] = in.Policies[1], in.Policies[0]
	for i, j := 0, len(in.Pods)-1; i < j; i, j = i+1, j-1 {
		in.Pods[i], in.Pods[j] = in.Pods[j], in.Pods[i]
	}
	if after := Compile("n1", in).Table("t"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestAnAddressBelongsToThePodThatStays(t *testing.T) {
	gone := &metav1.Time{Time: time.Unix(9, 0)}
	make := func(name, label string, deleted *metav1.Time, created int64) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{"app": label},
			DeletionTimestamp: deleted, CreationTimestamp: metav1.Unix(created, 0)},
			Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{PodIP: "10.0.0.1"}}
	}
	denied := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "deny", Namespace: "shop"}}
	denied.Spec.PodSelector.MatchLabels = map[string]string{"app": "closed"}
	for name, c := range map[string]struct {
		pods   []*corev1.Pod
		closed bool
	}{
		"the one not going away": {[]*corev1.Pod{make("a", "open", gone, 5), make("b", "closed", nil, 1)}, true},
		"else the newer one":     {[]*corev1.Pod{make("a", "closed", nil, 1), make("b", "open", nil, 2)}, false},
	} {
		r := Compile("n1", Cluster{Pods: c.pods, Policies: []*networkingv1.NetworkPolicy{denied}})
		if got := len(r.IsolatedAddrs()) > 0; got != c.closed {
			t.Errorf("%s: isolated is %t", name, got)
		}
	}
}
