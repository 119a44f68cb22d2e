// Package judge compares the compiled rules with an evaluator that others wrote, on random clusters.
package judge

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net/netip"
	"testing"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"countersign.test/rig/netpol/rules"
)

const (
	clusters          = 500
	packetsPerCluster = 40
	seed              = 20250821
)

type random struct{ *rand.Rand }

func one[T any](r random, all ...T) T { return all[r.Intn(len(all))] }

func (r random) chance(percent int) bool { return r.Intn(100) < percent }

func (r random) labels() map[string]string {
	out := map[string]string{}
	for _, key := range []string{"app", "tier", "zone"} {
		if key == "zone" || r.chance(60) {
			out[key] = one(r, "a", "b", "c")
		}
	}
	return out
}

func (r random) selector() metav1.LabelSelector {
	out := metav1.LabelSelector{}
	if r.chance(50) {
		out.MatchLabels = map[string]string{one(r, "app", "tier", "zone"): one(r, "a", "b", "c")}
	}
	for range r.Intn(3) {
		e := metav1.LabelSelectorRequirement{
			Key: one(r, "app", "tier", "zone"),
			Operator: one(r, metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn,
				metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist),
		}
		if e.Operator == metav1.LabelSelectorOpIn || e.Operator == metav1.LabelSelectorOpNotIn {
			// Kubernetes lets NotIn match objects without the key; this evaluator does not. So every object has this key.
			if e.Operator == metav1.LabelSelectorOpNotIn {
				e.Key = "zone"
			}
			e.Values = one(r, []string{"a"}, []string{"a", "b"}, []string{"c"})
		}
		out.MatchExpressions = append(out.MatchExpressions, e)
	}
	return out
}

func (r random) peers() (out []networkingv1.NetworkPolicyPeer) {
	for range r.Intn(4) {
		pods, namespaces := r.selector(), r.selector()
		switch r.Intn(4) {
		case 0:
			out = append(out, networkingv1.NetworkPolicyPeer{PodSelector: &pods})
		case 1:
			out = append(out, networkingv1.NetworkPolicyPeer{NamespaceSelector: &namespaces})
		case 2:
			out = append(out, networkingv1.NetworkPolicyPeer{PodSelector: &pods, NamespaceSelector: &namespaces})
		default:
			b := one(r,
				networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "10.1.0.0/16"}},
				networkingv1.IPBlock{CIDR: "10.0.0.0/16", Except: []string{"10.0.0.4/30"}},
				networkingv1.IPBlock{CIDR: "10.0.0.0/29"},
				networkingv1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.7/32", "192.0.2.0/30"}},
				networkingv1.IPBlock{CIDR: "10.0.0.9/32"})
			out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: &b})
		}
	}
	return out
}

func (r random) ports() (out []networkingv1.NetworkPolicyPort) {
	for range r.Intn(4) {
		var p networkingv1.NetworkPolicyPort
		if proto := one(r, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP); r.chance(75) {
			p.Protocol = &proto
		}
		number := intstr.FromInt32(one[int32](r, 53, 80, 443))
		name := intstr.FromString(one(r, "web", "dns", "admin"))
		switch r.Intn(4) {
		case 0:
			p.Port = &name
		case 1:
			end := number.IntVal + int32(r.Intn(500))
			p.Port, p.EndPort = &number, &end
		case 2:
			p.Port = &number
		}
		out = append(out, p)
	}
	return out
}

func (r random) policy(name string) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: r.namespace()}}
	p.Spec.PodSelector = r.selector()
	p.Spec.PolicyTypes = one(r, []networkingv1.PolicyType{"Ingress"}, []networkingv1.PolicyType{"Egress"},
		[]networkingv1.PolicyType{"Ingress", "Egress"})
	for range r.Intn(3) {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: r.peers(), Ports: r.ports()})
	}
	for range r.Intn(3) {
		p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: r.peers(), Ports: r.ports()})
	}
	return p
}

func (r random) namespace() string { return one(r, "x", "y", "z") }

// Every pod gives one of its ports a name, so that a name means a different number from pod to pod.
func (r random) pod(i int) *corev1.Pod {
	proto := one(r, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
	port := corev1.ContainerPort{Name: one(r, "web", "dns", "admin"), ContainerPort: one[int32](r, 53, 80, 443, 600), Protocol: proto}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pod-", i), Namespace: r.namespace(), Labels: r.labels()},
		Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Ports: []corev1.ContainerPort{port}}}},
		Status:     corev1.PodStatus{PodIP: fmt.Sprintf("10.0.0.%d", i+1)},
	}
}

func TestCompiledRulesDecideLikeCyclonusOnRandomClusters(t *testing.T) {
	r := random{rand.New(rand.NewSource(seed))}
	decided := map[bool]int{}
	for range clusters {
		var in rules.Cluster
		namespaces := map[string]map[string]string{}
		for _, name := range []string{"x", "y", "z"} {
			n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: r.labels()}}
			namespaces[name] = n.Labels
			in.Namespaces = append(in.Namespaces, n)
		}
		for i := range 12 {
			in.Pods = append(in.Pods, r.pod(i))
		}
		for i := range r.Intn(7) {
			in.Policies = append(in.Policies, r.policy(fmt.Sprint("policy-", i)))
		}
		ours := rules.Compile("n", in)
		theirs := matcher.BuildNetworkPolicies(false, in.Policies)
		peer := func() (*matcher.TrafficPeer, *corev1.Pod) {
			if r.chance(15) {
				return &matcher.TrafficPeer{IP: one(r, "192.0.2.1", "192.0.2.7", "192.0.2.9", "198.51.100.1")}, nil
			}
			pod := one(r, in.Pods...)
			return &matcher.TrafficPeer{IP: pod.Status.PodIP, Internal: &matcher.InternalPeer{
				PodLabels: pod.Labels, Namespace: pod.Namespace, NamespaceLabels: namespaces[pod.Namespace]}}, pod
		}
		for range packetsPerCluster {
			source, _ := peer()
			destination, to := peer()
			if source.IP == destination.IP {
				continue // a pod always reaches itself; the other evaluator leaves that to its caller
			}
			traffic := &matcher.Traffic{Source: source, Destination: destination,
				Protocol:     one(r, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP),
				ResolvedPort: one(r, 52, 53, 80, 100, 443, 444, 600, 8080, 65535)}
			if to != nil {
				port := to.Spec.Containers[0].Ports[0]
				if r.chance(50) {
					traffic.Protocol, traffic.ResolvedPort = port.Protocol, int(port.ContainerPort)
				}
				if traffic.Protocol == port.Protocol && traffic.ResolvedPort == int(port.ContainerPort) {
					traffic.ResolvedPortName = port.Name
				}
			}
			want := theirs.IsTrafficAllowed(traffic).IsAllowed()
			got := ours.Allows(rules.Packet{
				Src: netip.MustParseAddr(source.IP), Dst: netip.MustParseAddr(destination.IP),
				Proto: traffic.Protocol, Port: uint16(traffic.ResolvedPort)})
			if got != want {
				text, _ := json.MarshalIndent(in.Policies, "", " ")
				t.Fatalf("allowed: ours %t, theirs %t, for\n%s\nunder %s", got, want, traffic.Table(), text)
			}
			decided[got]++
		}
	}
	t.Logf("%d clusters, %d packets allowed, %d denied, all alike", clusters, decided[true], decided[false])
	if decided[true] < 2000 || decided[false] < 2000 {
		t.Errorf("too few decisions of one kind to judge by: %v", decided)
	}
}
