// Command netpol is the test rig's stand-in for a NetworkPolicy engine: it keeps one nftables table on one node equal to
// what the cluster's NetworkPolicies, Pods and Namespaces ask for. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"countersign.test/rig/netpol/rules"
)

const (
	table = "rig_netpol"
	retry = time.Second
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file with the cluster's address and credentials (required)")
	node := flag.String("node", "", "name of the node whose pods to isolate (required)")
	healthz := flag.String("healthz", "127.0.0.1:10300", "address for /healthz and /generation")
	flag.Parse()
	if *kubeconfig == "" || *node == "" {
		log.Fatal("--kubeconfig and --node were checked and one is empty: give both")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *node, *healthz); err != nil {
		log.Fatal(err)
	}
}

// On its way out it leaves the table: a node that loses its engine keeps its last policies.
func run(ctx context.Context, kubeconfig, node, healthz string) error {
	if err := bridgedPacketsAreFiltered(); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("the kubeconfig was read and refused (%w): give one that kubectl accepts", err)
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("the kubeconfig was used and refused (%w): give one that kubectl accepts", err)
	}
	status := &status{}
	server := &http.Server{Addr: healthz, Handler: status, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	defer server.Close()
	watched, err := watch(ctx, client)
	if err != nil {
		return err
	}
	written := ""
	for {
		var again <-chan time.Time
		cluster, err := watched.cluster()
		if err == nil {
			compiled := rules.Compile(node, cluster)
			if text := compiled.Table(table); text != written {
				if err = write(ctx, text); err == nil {
					written = text
				}
			}
			if err == nil {
				status.applied(cluster, compiled, written)
			}
		}
		if err != nil {
			log.Print(err)
			status.failed(err)
			again = time.After(retry)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("the status address %s was opened and failed (%w): give a free one", healthz, err)
		case <-watched.changed:
		case <-again:
		}
	}
}

// Pods on one bridge bypass the IP hooks unless the kernel is told otherwise; rules that see nothing would look applied.
func bridgedPacketsAreFiltered() error {
	const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	value, err := os.ReadFile(setting)
	if errors.Is(err, os.ErrNotExist) {
		return nil // no br_netfilter: pods are routed, not bridged
	}
	if err != nil || strings.TrimSpace(string(value)) != "1" {
		return fmt.Errorf("%s was checked and is %q (%v): set it to 1 in this network namespace", setting, value, err)
	}
	return nil
}

func write(ctx context.Context, text string) error {
	nft := exec.CommandContext(ctx, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(text)
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("the table was given to nft and refused (%w: %s): the former table stays, see the rules", err, out)
	}
	return nil
}
