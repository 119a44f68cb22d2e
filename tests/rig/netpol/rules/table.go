package rules

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The base chains come after kube-proxy's: destinations are translated, sources not yet. Egress and ingress hang on
// separate base chains, so that what the first accepts the second still judges. `input` is there for pods that talk to
// their own node; what the node sends passes neither hook, so its probes reach every pod. Neighbour discovery is
// IPv6's ARP: without it a denied pod would lose even its answers.
const head = `table inet %[1]s {}
delete table inet %[1]s
table inet %[1]s {
	chain egress { type filter hook forward priority filter + 10; policy accept; jump from-pod; }
	chain ingress { type filter hook forward priority filter + 11; policy accept; jump to-pod; }
	chain to-node { type filter hook input priority filter + 10; policy accept; jump from-pod; }
	chain common {
		ct state established,related accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		ip saddr . ip daddr @self-v4 accept
		ip6 saddr . ip6 daddr @self-v6 accept
	}
	chain from-pod { jump common; ip saddr vmap @egress-v4; ip6 saddr vmap @egress-v6; }
	chain to-pod { jump common; ip daddr vmap @ingress-v4; ip6 daddr vmap @ingress-v6; }
`

var (
	sides    = [2]string{Egress: "egress", Ingress: "ingress"}
	peers    = [2]string{Egress: "daddr", Ingress: "saddr"}
	families = [2]family{{"v4", "ip", "ipv4", true}, {"v6", "ip6", "ipv6", false}}
)

type family struct {
	suffix, match, kind string
	four                bool
}

func (f family) has(a netip.Addr) bool { return a.Is4() == f.four }

// A condition of one family, or of any if the family is empty.
type condition struct{ family, text string }

// Table prints the rules as input for `nft -f -`: one transaction that replaces the table of that name. Equal rules
// print equal text.
func (r *Rules) Table(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, head, name)
	for _, f := range families {
		r.sets(&b, f)
	}
	for i, p := range r.Policies {
		for d, rules := range p.Rules {
			if len(rules) > 0 {
				fmt.Fprintf(&b, "\tchain policy-%d-%s { # %s\n", i, sides[d], p.Name)
				for _, rule := range rules {
					r.lines(&b, Direction(d), rule)
				}
				b.WriteString("\t}\n")
			}
		}
	}
	for i, c := range r.Chains {
		fmt.Fprintf(&b, "\tchain pods-%d {\n", i)
		for _, p := range c.Policies {
			if len(r.Policies[p].Rules[c.Direction]) > 0 {
				fmt.Fprintf(&b, "\t\tjump policy-%d-%s\n", p, sides[c.Direction])
			}
		}
		b.WriteString("\t\tcounter drop\n\t}\n")
	}
	for d, isolated := range r.Isolated {
		for _, f := range families {
			var elements []string
			for _, a := range slices.SortedFunc(maps.Keys(isolated), netip.Addr.Compare) {
				if f.has(a) {
					elements = append(elements, fmt.Sprintf("%s : jump pods-%d", a, isolated[a]))
				}
			}
			collection(&b, "map", sides[d]+"-"+f.suffix, f.kind+"_addr : verdict", elements)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

func (r *Rules) sets(b *strings.Builder, f family) {
	var self []string
	for _, a := range r.IsolatedAddrs() {
		if f.has(a) {
			self = append(self, fmt.Sprintf("%s . %s", a, a))
		}
	}
	collection(b, "set", "self-"+f.suffix, f.kind+"_addr . "+f.kind+"_addr", self)
	for i, set := range r.PodSets {
		var elements []string
		for _, a := range set {
			if f.has(a) {
				elements = append(elements, a.String())
			}
		}
		collection(b, "set", fmt.Sprintf("peers-%d-%s", i, f.suffix), f.kind+"_addr", elements)
	}
	for i, set := range r.NamedPorts {
		var elements []string
		for _, e := range set {
			if f.has(e.Addr) {
				elements = append(elements, fmt.Sprintf("%s . %s . %d", e.Addr, protocol(e.Proto), e.Port))
			}
		}
		collection(b, "set", fmt.Sprintf("ports-%d-%s", i, f.suffix), f.kind+"_addr . inet_proto . inet_service", elements)
	}
}

// IsolatedAddrs lists the local addresses that have a policy for either direction.
func (r *Rules) IsolatedAddrs() []netip.Addr {
	all := map[netip.Addr]bool{}
	for _, side := range r.Isolated {
		for a := range side {
			all[a] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), netip.Addr.Compare)
}

func (r *Rules) lines(b *strings.Builder, d Direction, rule Rule) {
	for _, peer := range r.peerConditions(d, rule) {
		for _, port := range portConditions(rule) {
			if peer.family == "" || port.family == "" || peer.family == port.family {
				fmt.Fprintf(b, "\t\t%s\n", strings.Join(strings.Fields(peer.text+" "+port.text+" accept"), " "))
			}
		}
	}
}

func (r *Rules) peerConditions(d Direction, rule Rule) (out []condition) {
	if rule.AnyPeer {
		return []condition{{}}
	}
	for _, f := range families {
		field := f.match + " " + peers[d]
		if rule.Pods >= 0 && slices.ContainsFunc(r.PodSets[rule.Pods], f.has) {
			out = append(out, condition{f.match, fmt.Sprintf("%s @peers-%d-%s", field, rule.Pods, f.suffix)})
		}
		for _, block := range rule.Blocks {
			if !f.has(block.CIDR.Addr()) {
				continue
			}
			text := fmt.Sprintf("%s %s", field, block.CIDR)
			if block.CIDR.Bits() == 0 {
				text = "meta nfproto " + f.kind
			}
			if len(block.Except) > 0 {
				text += fmt.Sprintf(" %s != { %s }", field, commas(block.Except))
			}
			out = append(out, condition{f.match, text})
		}
	}
	return out
}

func portConditions(rule Rule) (out []condition) {
	if rule.AnyPort {
		return []condition{{}}
	}
	numbers := map[corev1.Protocol][]string{}
	for _, p := range rule.Ports {
		numbers[p.Proto] = append(numbers[p.Proto], fmt.Sprintf("%d-%d", p.From, p.To))
	}
	for _, proto := range slices.Sorted(maps.Keys(numbers)) {
		text := fmt.Sprintf("%s dport { %s }", protocol(proto), strings.Join(numbers[proto], ", "))
		out = append(out, condition{"", text})
	}
	for _, i := range rule.Named {
		for _, f := range families {
			out = append(out, condition{f.match, fmt.Sprintf("%s daddr . meta l4proto . th dport @ports-%d-%s", f.match, i, f.suffix)})
		}
	}
	return out
}

func collection(b *strings.Builder, kind, name, of string, elements []string) {
	fmt.Fprintf(b, "\t%s %s {\n\t\ttype %s\n", kind, name, of)
	if len(elements) > 0 {
		fmt.Fprintf(b, "\t\telements = { %s }\n", strings.Join(elements, ",\n\t\t\t"))
	}
	b.WriteString("\t}\n")
}

func commas[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.String()
	}
	return strings.Join(texts, ", ")
}

func protocol(p corev1.Protocol) string { return strings.ToLower(string(p)) }
