package main

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"

	"countersign.test/rig/netpol/rules"
)

type watched struct {
	policies   networkinglisters.NetworkPolicyLister
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	changed    chan struct{} // holds one token while something has changed since it was last taken
}

// watch returns once everything has been listed, so that the first table is a whole one.
func watch(ctx context.Context, client kubernetes.Interface) (*watched, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutManagedFields))
	policies := factory.Networking().V1().NetworkPolicies()
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	w := &watched{policies.Lister(), pods.Lister(), namespaces.Lister(), make(chan struct{}, 1)}
	poke := func() {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { poke() },
		UpdateFunc: func(any, any) { poke() },
		DeleteFunc: func(any) { poke() },
	}
	for _, informer := range []cache.SharedIndexInformer{policies.Informer(), pods.Informer(), namespaces.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, fmt.Errorf("a watch was set up and failed (%w): this is a mistake in the program", err)
		}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, errors.Join(ctx.Err(), fmt.Errorf("the first list of %v was awaited and did not come: check the API server", kind))
		}
	}
	return w, nil
}

func (w *watched) cluster() (out rules.Cluster, err error) {
	var errs [3]error
	out.Policies, errs[0] = w.policies.List(labels.Everything())
	out.Pods, errs[1] = w.pods.List(labels.Everything())
	out.Namespaces, errs[2] = w.namespaces.List(labels.Everything())
	return out, errors.Join(errs[:]...)
}

func withoutManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}
