// Package rules turns NetworkPolicies, Pods and Namespaces into one node's packet rules, decides single packets by
// them, and prints them as an nftables table. It keeps no state and talks to nobody.
package rules

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Direction is the side of a policy: what leaves a pod, or what reaches it.
type Direction int

const (
	Egress Direction = iota
	Ingress
)

// Endpoint is a port of a pod.
type Endpoint struct {
	Addr  netip.Addr
	Proto corev1.Protocol
	Port  uint16
}

// Ports is an inclusive range of ports of one protocol. 0 to 65535 stands for the whole protocol.
type Ports struct {
	Proto    corev1.Protocol
	From, To uint16
}

// Block is a range of addresses with holes.
type Block struct {
	CIDR   netip.Prefix
	Except []netip.Prefix
}

// Rule accepts a packet whose peer and destination port both match.
type Rule struct {
	AnyPeer bool
	Pods    int // index into Rules.PodSets, or -1
	Blocks  []Block
	AnyPort bool
	Ports   []Ports // sorted, without overlap
	Named   []int   // indexes into Rules.NamedPorts
}

// Policy holds the rules of one NetworkPolicy for each direction.
type Policy struct {
	Name  string
	Rules [2][]Rule
}

// Chain is what all pods that share a direction and a list of policies are judged by: any rule accepts, else drop.
type Chain struct {
	Direction Direction
	Policies  []int
}

// Rules is the compiled form for one node.
type Rules struct {
	Policies   []Policy
	Chains     []Chain
	Isolated   [2]map[netip.Addr]int // a local pod's address to its chain; absent means that everything is allowed
	PodSets    [][]netip.Addr
	NamedPorts [][]Endpoint
}

// Packet is the first packet of a connection, after destination translation.
type Packet struct {
	Src, Dst netip.Addr
	Proto    corev1.Protocol
	Port     uint16
}

// Allows says whether the packet passes both the policies of its source and those of its destination.
func (r *Rules) Allows(p Packet) bool {
	// A pod cannot block access to itself.
	return p.Src == p.Dst || r.passes(Egress, p.Src, p.Dst, p) && r.passes(Ingress, p.Dst, p.Src, p)
}

func (r *Rules) passes(d Direction, pod, peer netip.Addr, p Packet) bool {
	chain, isolated := r.Isolated[d][pod]
	if !isolated {
		return true
	}
	for _, policy := range r.Chains[chain].Policies {
		for _, rule := range r.Policies[policy].Rules[d] {
			if r.peer(rule, peer) && r.port(rule, p) {
				return true
			}
		}
	}
	return false
}

func (r *Rules) peer(rule Rule, peer netip.Addr) bool {
	inBlock := func(b Block) bool {
		hole := func(e netip.Prefix) bool { return e.Contains(peer) }
		return b.CIDR.Contains(peer) && !slices.ContainsFunc(b.Except, hole)
	}
	return rule.AnyPeer || rule.Pods >= 0 && slices.Contains(r.PodSets[rule.Pods], peer) ||
		slices.ContainsFunc(rule.Blocks, inBlock)
}

func (r *Rules) port(rule Rule, p Packet) bool {
	numbered := func(x Ports) bool { return x.Proto == p.Proto && x.From <= p.Port && p.Port <= x.To }
	named := func(i int) bool { return slices.Contains(r.NamedPorts[i], Endpoint{p.Dst, p.Proto, p.Port}) }
	return rule.AnyPort || slices.ContainsFunc(rule.Ports, numbered) || slices.ContainsFunc(rule.Named, named)
}
