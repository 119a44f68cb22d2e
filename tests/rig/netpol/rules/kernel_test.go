package rules

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Network namespaces without names: they end with this process. Needs root, nft and ip.
type netns struct{ file *os.File }

func newNetns(t *testing.T) netns {
	t.Helper()
	made := make(chan any)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- fmt.Errorf("a network namespace was asked for and refused (%w): run as root", err)
			return
		}
		file, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			made <- err
			return
		}
		made <- netns{file}
	}()
	switch got := (<-made).(type) {
	case netns:
		t.Cleanup(func() { got.file.Close() })
		got.sh(t, "ip link set lo up")
		return got
	default:
		t.Fatal(got)
		return netns{}
	}
}

func (n netns) do(work func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- work()
	}()
	return <-done
}

func (n netns) sh(t *testing.T, script string) {
	t.Helper()
	if err := n.do(func() error {
		if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", script, err, out)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (n netns) nft(t *testing.T, table string) {
	t.Helper()
	if err := n.do(func() error {
		nft := exec.Command("nft", "-f", "-")
		nft.Stdin = strings.NewReader(table)
		if out, err := nft.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s\n%s", err, out, table)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// serve echoes on the address until the test ends.
func (n netns) serve(t *testing.T, network, address string) {
	t.Helper()
	if err := n.do(func() error {
		if network == "udp" {
			conn, err := net.ListenPacket(network, address)
			if err != nil {
				return err
			}
			t.Cleanup(func() { conn.Close() })
			go func() {
				buf := make([]byte, 64)
				for size, from, err := conn.ReadFrom(buf); err == nil; size, from, err = conn.ReadFrom(buf) {
					conn.WriteTo(buf[:size], from)
				}
			}()
			return nil
		}
		listener, err := net.Listen(network, address)
		if err != nil {
			return err
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
				go func() { defer conn.Close(); io.Copy(conn, conn) }()
			}
		}()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (n netns) dial(network, address string, wait time.Duration) (conn net.Conn, err error) {
	err = n.do(func() (err error) { conn, err = net.DialTimeout(network, address, wait); return err })
	return conn, err
}

func echo(conn net.Conn, wait time.Duration) error {
	conn.SetDeadline(time.Now().Add(wait))
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	answer := make([]byte, 5)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer, []byte("hello")) {
		return fmt.Errorf("answer %q", answer)
	}
	return nil
}

// reach tells a dropped packet from any other failure.
func (n netns) reach(network, address string, expected bool) error {
	wait := 300 * time.Millisecond
	if expected {
		wait = 5 * time.Second
	}
	conn, err := n.dial(network, address, wait)
	if err == nil {
		defer conn.Close()
		err = echo(conn, wait)
	}
	timeout, ok := err.(net.Error)
	switch {
	case expected && err != nil:
		return err
	case !expected && err == nil:
		return fmt.Errorf("it was reached")
	case !expected && !(ok && timeout.Timeout()):
		return fmt.Errorf("it did not time out, but: %w", err)
	}
	return nil
}

// A node with three pods of the fixture on one bridge, and an outside host behind a router hop.
func node(t *testing.T) map[string]netns {
	t.Helper()
	all := map[string]netns{"node": newNetns(t)}
	all["node"].sh(t, `
		ip link add name bridge type bridge; ip addr add 10.0.0.254/24 dev bridge; ip -6 addr add fd00::254/64 dev bridge nodad; ip link set bridge up
		echo 1 > /proc/sys/net/ipv4/ip_forward
		echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; echo 1 > /proc/sys/net/bridge/bridge-nf-call-ip6tables`)
	for i, name := range []string{"web", "db", "tool", "outside"} {
		n := newNetns(t)
		all[name] = n
		all["node"].sh(t, fmt.Sprintf("ip link add v%d type veth peer name eth0 netns /proc/%d/fd/%d; ip link set v%d up",
			i, os.Getpid(), n.file.Fd(), i))
		if name == "outside" {
			all["node"].sh(t, fmt.Sprintf("ip addr add 192.0.2.254/24 dev v%d", i))
			n.sh(t, "ip addr add 192.0.2.7/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.254")
			continue
		}
		all["node"].sh(t, fmt.Sprintf("ip link set v%d master bridge", i))
		n.sh(t, fmt.Sprintf("ip addr add %s/24 dev eth0; ip -6 addr add fd00::%d/64 dev eth0 nodad; ip link set eth0 up; ip route add default via 10.0.0.254",
			hosts[name], i+1))
	}
	all["web"].serve(t, "tcp", ":80")
	all["web"].serve(t, "tcp", ":8080")
	all["web"].serve(t, "udp", ":53")
	all["outside"].serve(t, "tcp", ":80")
	all["node"].serve(t, "tcp", ":6443")
	return all
}

func TestTheKernelDropsWhatThePoliciesDoNotAllow(t *testing.T) {
	all := node(t)
	const web = "10.0.0.1"
	for _, c := range []struct {
		name          string
		policies      []string
		allow, refuse string // "source network host:port", separated by commas
	}{
		{"no policy", nil, "tool tcp 10.0.0.1:80, db udp 10.0.0.1:53, outside tcp 10.0.0.1:80, web tcp 192.0.2.7:80, tool tcp [fd00::1]:80", ""},
		{"deny all", []string{`{podSelector: {}, policyTypes: [Ingress, Egress]}`}, "node tcp 10.0.0.1:80, web tcp 10.0.0.1:80",
			"tool tcp 10.0.0.1:80, tool udp 10.0.0.1:53, outside tcp 10.0.0.1:80, web tcp 192.0.2.7:80, web tcp 10.0.0.254:6443"},
		{"pod peer", []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}`},
			"db tcp 10.0.0.1:80, db udp 10.0.0.1:53", "tool tcp 10.0.0.1:80, outside tcp 10.0.0.1:80"},
		{"address block with a hole", []string{`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.2/32, 10.0.0.2/31]}}]}]}`},
			"outside tcp 10.0.0.1:80", "db tcp 10.0.0.1:80, tool tcp 10.0.0.1:80"},
		{"port range", []string{`{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 8090}, {port: 8080}]}]}`},
			"tool tcp 10.0.0.1:8080", "tool tcp 10.0.0.1:80, tool udp 10.0.0.1:53"},
		{"named port", []string{`{podSelector: {}, ingress: [{ports: [{port: http}]}]}`},
			"tool tcp 10.0.0.1:8080", "tool tcp 10.0.0.1:80"},
		{"egress for DNS alone", []string{`{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}]}`},
			"db udp 10.0.0.1:53, tool tcp 10.0.0.1:80", "db tcp 10.0.0.1:80, db tcp 192.0.2.7:80, db tcp 10.0.0.254:6443"},
		{"egress to the node's address", []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.254/32}}]}]}`},
			"web tcp 10.0.0.254:6443", "web tcp 192.0.2.7:80"},
		{"IPv6 by pod, by block and by name", []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}], ports: [{port: http}]}, {from: [{ipBlock: {cidr: "fd00::/64", except: ["fd00::2/128"]}}], ports: [{port: 80}]}]}`},
			"db tcp [fd00::1]:8080, tool tcp [fd00::1]:80", "db tcp [fd00::1]:80, tool tcp [fd00::1]:8080, outside tcp 10.0.0.1:80"},
		{"a hole in all of IPv6", []string{`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "::/0", except: ["fd00::/16", "fd00::3/128"]}}]}]}`},
			"", "tool tcp 10.0.0.1:80, tool tcp [fd00::1]:80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all["node"].nft(t, compiled(t, c.policies...).Table("t"))
			probe(t, all, c.allow, true)
			probe(t, all, c.refuse, false)
		})
	}
	t.Run("a connection outlives the policy that would refuse it", func(t *testing.T) {
		all["node"].nft(t, compiled(t).Table("t"))
		conn, err := all["tool"].dial("tcp", web+":80", 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		all["node"].nft(t, compiled(t, `{podSelector: {}}`).Table("t"))
		if err := echo(conn, 5*time.Second); err != nil {
			t.Errorf("the open connection ended: %v", err)
		}
		if err := all["tool"].reach("tcp", web+":80", false); err != nil {
			t.Errorf("a new connection: %v", err)
		}
	})
}

func probe(t *testing.T, all map[string]netns, list string, expected bool) {
	t.Helper()
	for _, text := range strings.Split(list, ",") {
		var from, network, address string
		if n, _ := fmt.Sscan(text, &from, &network, &address); n == 3 {
			if err := all[from].reach(network, address, expected); err != nil {
				t.Errorf("%s, allowed should be %t: %v", strings.TrimSpace(text), expected, err)
			}
		} else if list != "" {
			t.Fatalf("cannot read %q", text)
		}
	}
}
