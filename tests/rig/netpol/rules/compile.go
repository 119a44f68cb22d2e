package rules

import (
	"cmp"
	"fmt"
	"log"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Cluster is what the rules follow from.
type Cluster struct {
	Policies   []*networkingv1.NetworkPolicy
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
}

type pod struct {
	*corev1.Pod
	addrs []netip.Addr
}

type compiler struct {
	pods       []pod
	namespaces map[string]labels.Set
	podSets    map[string]int // by the text of the peers' selectors
	named      map[string]int // by name and protocol
	chains     map[string]int // by direction and policies
	rules      *Rules
}

// Compile makes the rules for the pods of one node; peers may be anywhere. The result does not depend on the order of
// its input, so equal clusters print equal tables. What cannot be understood allows nothing, and is logged.
func Compile(node string, in Cluster) *Rules {
	c := &compiler{
		pods:       livePods(in.Pods),
		namespaces: map[string]labels.Set{},
		podSets:    map[string]int{},
		named:      map[string]int{},
		chains:     map[string]int{},
		rules:      &Rules{Isolated: [2]map[netip.Addr]int{{}, {}}},
	}
	for _, n := range in.Namespaces {
		c.namespaces[n.Name] = n.Labels
	}
	policies := slices.SortedFunc(slices.Values(in.Policies), func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	selecting := make([][2][]int, len(c.pods))
	for _, p := range policies {
		types := policyTypes(p)
		at := -1
		for i, pod := range c.pods {
			// A selector that cannot be parsed selects the whole namespace.
			if pod.Spec.NodeName != node || pod.Namespace != p.Namespace || !matches(&p.Spec.PodSelector, pod.Labels, true) {
				continue
			}
			if at < 0 {
				at = c.policy(p, types)
			}
			for d := range types {
				if types[d] {
					selecting[i][d] = append(selecting[i][d], at)
				}
			}
		}
	}
	for i, pod := range c.pods {
		for d, policies := range selecting[i] {
			if len(policies) > 0 {
				chain := c.chain(Direction(d), policies)
				for _, a := range pod.addrs {
					c.rules.Isolated[d][a] = chain
				}
			}
		}
	}
	return c.rules
}

// Pods on the node's own network have no address of their own and are neither selected nor matched; pods that ended
// have given theirs back. Where two claim one address, the one that is not going away holds it, then the newer one.
func livePods(all []*corev1.Pod) []pod {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b *corev1.Pod) int {
		return cmp.Or(going(a)-going(b), b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	taken := map[netip.Addr]bool{}
	var live []pod
	for _, p := range sorted {
		if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		var addrs []netip.Addr
		for _, text := range append([]corev1.PodIP{{IP: p.Status.PodIP}}, p.Status.PodIPs...) {
			if a, err := netip.ParseAddr(text.IP); err == nil && !taken[a] {
				taken[a] = true
				addrs = append(addrs, a)
			}
		}
		if len(addrs) > 0 {
			live = append(live, pod{p, addrs})
		}
	}
	return live
}

func going(p *corev1.Pod) int {
	if p.DeletionTimestamp != nil {
		return 1
	}
	return 0
}

func policyTypes(p *networkingv1.NetworkPolicy) (types [2]bool) {
	if len(p.Spec.PolicyTypes) == 0 {
		return [2]bool{Ingress: true, Egress: len(p.Spec.Egress) > 0}
	}
	types[Ingress] = slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
	types[Egress] = slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	return types
}

func (c *compiler) policy(p *networkingv1.NetworkPolicy, types [2]bool) int {
	out := Policy{Name: p.Namespace + "/" + p.Name}
	if types[Ingress] {
		for _, r := range p.Spec.Ingress {
			out.Rules[Ingress] = append(out.Rules[Ingress], c.rule(p.Namespace, r.From, r.Ports))
		}
	}
	if types[Egress] {
		for _, r := range p.Spec.Egress {
			out.Rules[Egress] = append(out.Rules[Egress], c.rule(p.Namespace, r.To, r.Ports))
		}
	}
	c.rules.Policies = append(c.rules.Policies, out)
	return len(c.rules.Policies) - 1
}

func (c *compiler) chain(d Direction, policies []int) int {
	return index(c.chains, fmt.Sprint(d, policies), func() int {
		c.rules.Chains = append(c.rules.Chains, Chain{d, policies})
		return len(c.rules.Chains) - 1
	})
}

func (c *compiler) rule(namespace string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) Rule {
	r := Rule{AnyPeer: len(peers) == 0, AnyPort: len(ports) == 0, Pods: -1}
	var selecting []networkingv1.NetworkPolicyPeer
	var key []string
	for _, p := range peers {
		if p.IPBlock == nil {
			selecting = append(selecting, p)
			key = append(key, peerKey(namespace, p))
		} else if b, err := block(p.IPBlock); err == nil {
			r.Blocks = append(r.Blocks, b)
		} else {
			log.Printf("an ipBlock in namespace %s was checked, %v, and it allows nothing: correct the policy", namespace, err)
		}
	}
	if len(selecting) > 0 {
		slices.Sort(key)
		r.Pods = index(c.podSets, strings.Join(key, "\n"), func() int { return c.podSet(namespace, selecting) })
	}
	for _, p := range ports {
		proto := corev1.ProtocolTCP
		if p.Protocol != nil {
			proto = *p.Protocol
		}
		switch {
		case p.Port == nil:
			r.Ports = append(r.Ports, Ports{proto, 0, 65535})
		case p.Port.Type == intstr.String:
			name := p.Port.StrVal
			r.Named = append(r.Named, index(c.named, name+"/"+string(proto), func() int { return c.namedPort(name, proto) }))
		default:
			to := p.Port.IntVal
			if p.EndPort != nil {
				to = *p.EndPort
			}
			if from := p.Port.IntVal; 1 <= from && from <= to && to <= 65535 {
				r.Ports = append(r.Ports, Ports{proto, uint16(from), uint16(to)})
			}
		}
	}
	r.Ports = merged(r.Ports)
	return r
}

func (c *compiler) podSet(namespace string, peers []networkingv1.NetworkPolicyPeer) int {
	set := []netip.Addr{}
	for _, pod := range c.pods {
		from, known := c.namespaces[pod.Namespace]
		if slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
			here := pod.Namespace == namespace
			if p.NamespaceSelector != nil {
				here = known && matches(p.NamespaceSelector, from, false)
			}
			return here && (p.PodSelector == nil && p.NamespaceSelector != nil ||
				p.PodSelector != nil && matches(p.PodSelector, pod.Labels, false))
		}) {
			set = append(set, pod.addrs...)
		}
	}
	slices.SortFunc(set, netip.Addr.Compare)
	c.rules.PodSets = append(c.rules.PodSets, set)
	return len(c.rules.PodSets) - 1
}

// Every pod's port of that name: whether the pod itself is meant is for the rest of the rule to say.
func (c *compiler) namedPort(name string, proto corev1.Protocol) int {
	set := []Endpoint{}
	for _, pod := range c.pods {
		containers := slices.Clone(pod.Spec.Containers)
		for _, init := range pod.Spec.InitContainers {
			if init.RestartPolicy != nil && *init.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				containers = append(containers, init)
			}
		}
		for _, container := range containers {
			for _, port := range container.Ports {
				if port.Name == name && cmp.Or(port.Protocol, corev1.ProtocolTCP) == proto {
					for _, a := range pod.addrs {
						set = append(set, Endpoint{a, proto, uint16(port.ContainerPort)})
					}
				}
			}
		}
	}
	slices.SortFunc(set, func(a, b Endpoint) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port)) })
	c.rules.NamedPorts = append(c.rules.NamedPorts, slices.Compact(set))
	return len(c.rules.NamedPorts) - 1
}

func peerKey(namespace string, p networkingv1.NetworkPolicyPeer) string {
	scope := "in " + namespace
	if p.NamespaceSelector != nil {
		scope = "where " + p.NamespaceSelector.String()
	}
	return scope + " " + p.PodSelector.String()
}

func matches(s *metav1.LabelSelector, set map[string]string, invalid bool) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return invalid
	}
	return selector.Matches(labels.Set(set))
}

func block(b *networkingv1.IPBlock) (Block, error) {
	cidr, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return Block{}, err
	}
	out := Block{CIDR: cidr.Masked()}
	for _, text := range b.Except {
		e, err := netip.ParsePrefix(text)
		if err != nil {
			return Block{}, err
		}
		if e.Addr().Is4() != cidr.Addr().Is4() {
			continue
		}
		inside := func(o netip.Prefix) bool { return o.Overlaps(e) && o.Bits() <= e.Bits() }
		if !slices.ContainsFunc(out.Except, inside) {
			e = e.Masked()
			within := func(o netip.Prefix) bool { return e.Overlaps(o) }
			out.Except = append(slices.DeleteFunc(out.Except, within), e)
		}
	}
	return out, nil
}

// nftables refuses ranges that overlap within one set.
func merged(ports []Ports) (out []Ports) {
	slices.SortFunc(ports, func(a, b Ports) int { return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.From, b.From)) })
	for _, p := range ports {
		if last := len(out) - 1; last >= 0 && out[last].Proto == p.Proto && int(p.From) <= int(out[last].To)+1 {
			out[last].To = max(out[last].To, p.To)
		} else {
			out = append(out, p)
		}
	}
	return out
}

func index(known map[string]int, key string, add func() int) int {
	at, ok := known[key]
	if !ok {
		at = add()
		known[key] = at
	}
	return at
}
