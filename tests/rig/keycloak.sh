#!/usr/bin/env bash
# tests/rig/keycloak.sh FOLDER: fetches Keycloak into FOLDER, builds it, and seeds its database.
#
# Building decides the features, and the seed holds the schema and an administrator: with both done once, a test
# waits seconds for a start instead of minutes.
set -euo pipefail
into=$1
here=$(cd "$(dirname "$0")" && pwd)
read -r name version digest < <(grep -v '^#' "$here/keycloak.pin")
fetch=$(mktemp -d "$into/fetch-XXXXXX")

# A local repository of its own: nothing of this machine's decides what is fetched.
mvn -q -B -Dmaven.repo.local="$fetch" org.apache.maven.plugins:maven-dependency-plugin:2.8:get \
    -Dartifact="$name:$version:zip" -Dtransitive=false >&2
zip=$(find "$fetch" -name "${name#*:}-$version.zip")
if [ "$(sha512sum "$zip" | cut -d' ' -f1)" != "$digest" ]; then
    echo "$name $version has another digest than tests/rig/keycloak.pin says: not used" >&2
    exit 1
fi
unzip -q "$zip" -d "$into"
mv "$into/keycloak-$version"/* "$into/"
rm -r "$fetch" "$into/keycloak-$version"

"$into/bin/kc.sh" build --db=dev-file --features=client-auth-federated,spiffe,kubernetes-service-accounts \
    --health-enabled=true --metrics-enabled=true >&2

# Below the range from which the kernel takes ports for outgoing connections.
port=$((20000 + RANDOM % 10000))
management=$((port + 1))
log=$into/seed.log
KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin-pw \
    "$into/bin/kc.sh" start --optimized --cache=local --http-enabled=true --http-host=127.0.0.1 \
    --http-port="$port" --http-management-port="$management" --hostname="http://127.0.0.1:$port" >"$log" 2>&1 &
server=$!
# kc.sh hands the signal on to the Java process, its child.
trap 'kill "$server" 2>/dev/null || true' EXIT
is_ready() { # The status line of the health endpoint, read with what bash has.
    exec 3<>"/dev/tcp/127.0.0.1/$management" || return 1
    printf 'GET /health/ready HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
    head -1 <&3 | grep -q ' 200 '
}
until (is_ready) 2>/dev/null; do
    if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -gt 900 ]; then
        cat "$log" >&2
        echo "Keycloak did not become ready" >&2
        exit 1
    fi
    sleep 0.5
done
kill "$server"
wait "$server" || true
trap - EXIT
# What a server leaves behind besides its database belongs to that server.
mkdir "$into/seed"
mv "$into/data/h2/keycloakdb.mv.db" "$into/seed/"
rm -r "$into/data" "$log"
