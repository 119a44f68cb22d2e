# Process 1 of a rig: makes its world, says "ready PID", waits for the end of its input, and leaves nothing.
#
# Its input is a pipe held by the process that owns the rig. However that one ends, the pipe closes.
# Usage: init.sh FOLDER CGROUP. The word `keep` on the input keeps FOLDER (its logs) at the end.
set -euo pipefail
folder=$1 cgroup=$2 node=10.200.0.1

# The number that the outside knows this process by, read before /proc is our own.
read -r outside _ </proc/self/stat

mount --make-rshared /
mount -t proc proc /proc
mkdir -p "$folder/state"
mount -t tmpfs -o mode=755 rig "$folder/state"
mkdir "$folder"/state/{var,work,sysctl}
# What container tools write at fixed paths stays in here: sockets and locks in /run, the rest in /var.
mount -t tmpfs -o mode=755 rig /run
mount -t overlay -o "lowerdir=/var,upperdir=$folder/state/var,workdir=$folder/state/work" rig /var
# The kubelet rewrites these, and they belong to the whole machine: in here they are files of their own.
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops; do
    copy=$folder/state/sysctl/${name//\//.}
    cat "/proc/sys/$name" >"$copy"
    mount --bind "$copy" "/proc/sys/$name"
done
ip link set lo up
ip address add "$node/32" dev lo
# Service addresses need a route to exist before kube-proxy's rules can rewrite them.
ip route add 10.96.0.0/16 dev lo src "$node"
echo 1 >/proc/sys/net/ipv4/ip_forward
if [ -n "$cgroup" ]; then
    # Without this, packets between two pods on one bridge never meet the filter.
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
    for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*/; do
        if [ -e "$hierarchy/cgroup.procs" ]; then mkdir -p "$hierarchy/$cgroup"; fi
    done
    for share in cpuset.cpus cpuset.mems; do
        if [ -e "/sys/fs/cgroup/cpuset/$share" ]; then
            cat "/sys/fs/cgroup/cpuset/$share" >"/sys/fs/cgroup/cpuset/$cgroup/$share"
        fi
    done
fi

echo "ready $outside"
word=
read -r word || true

set +e
kill -KILL -1 2>/dev/null
if [ -n "$cgroup" ]; then
    # A group is removable once the last of its processes is buried.
    for _ in $(seq 100); do
        left=$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup")
        [ -n "$left" ] || break
        for group in $left; do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; done
        sleep 0.05
    done
fi
umount -l "$folder/state"
rmdir "$folder/state"
[ "$word" = keep ] || rm -rf "$folder"
