# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_countersign_global_optspecs
    string join \n h/help V/version
end

function __fish_countersign_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_countersign_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_countersign_using_subcommand
    set -l cmd (__fish_countersign_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c countersign -n "__fish_countersign_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_needs_command" -s V -l version -d 'Print version'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "verify" -d 'Verify who signed a card'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "verify-svid" -d 'Verify an X.509-SVID and its chain over a trust bundle'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "canonicalize" -d 'Print the exact bytes that a signature under one profile covers'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "sign" -d 'Sign a card with an X.509-SVID'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "explain" -d 'Explain a reason, a rule, or how a card came to its verdict'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "plan" -d 'Print the objects that would be applied for a set of manifests'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "policy" -d 'Check a file with acceptance policies, before the operator or a pipeline reads it'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "schema" -d 'Print the JSON Schema of the JSON results of a command'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "check" -d 'Check a cluster before agents are enrolled, or one agent after'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "demo" -d 'Show the whole way: six agents on this machine, their verdicts and the policies that follow'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "crd" -d 'Print the custom resource definitions that the operator works with'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "probe" -d 'Ask an address and succeed if it answers 200, or if a file is written'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "man" -d 'Write the manual pages into a directory'
complete -c countersign -n "__fish_countersign_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l bundle -d 'Trust bundle of the trust domain: SPIFFE JSON, JWKS, PEM or a bundle map; `TD=FILE` for another domain. May be repeated' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l trust-domain -d 'Trust domain that the signer must belong to, for example `example.org`; that of --expect-id, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l expect-id -d 'SPIFFE ID of the workload that must have signed' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l policy -d 'File with the acceptance policy of each trust domain, as the operator reads it; instead of the flags for it' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l at -d 'Judge as of this moment, for example 2026-11-21T00:10:00Z; now, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l max-svid-lifetime -d 'Longest lifetime of an SVID; 0 for any' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l skew -d 'How far clocks may differ, at most 60 s, as in the cluster' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l coverage -d 'What to do about members that decide about security and are not signed' -r -f -a "strict\t'Refuse the card'
report\t'Accept the signed part and list the rest'"
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l profile -d 'Canonical forms to try instead of the first four; may be repeated or separated by commas' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l numbers -d 'How numbers are read' -r -f -a "strict\t'Refuse numbers that cannot be kept exactly'
binary64\t'Read every number as an IEEE 754 double, as the A2A SDKs do'"
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l freshness -d 'When a card is fresh' -r -f -a "live\t'Its leaf certificate is valid now'
witnessed\t'Its leaf is valid now, or the memory knows this content from when one was'"
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l max-age -d 'With `witnessed`: the longest time since this content was last verified under a valid SVID' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l memory -d 'File that remembers the accepted card of each workload, for --freshness witnessed and against replays. `verify` makes it when it does not exist, and writes it only when a card was verified and something changed; `explain` only reads it' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l signed-card -d 'Write the card that was signed to a file: exactly the bytes that the signature covers, without members that it leaves out. Written only if the card is verified; for one card' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand verify" -s o -l output -d 'How the verdict is written' -r -f -a "text\t'For people'
json\t'For scripts: stable names and codes'
sarif\t'SARIF 2.1.0, for code scanning'"
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l all-profiles -d 'Try all canonical forms, those of old SDKs too'
complete -c countersign -n "__fish_countersign_using_subcommand verify" -l any-workload -d 'Accept a signature of any workload of the trust domain, instead of --expect-id'
complete -c countersign -n "__fish_countersign_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand verify-svid" -l bundle -d 'Trust bundle of the trust domain: SPIFFE JSON, JWKS, PEM or a bundle map; `TD=FILE` for another domain. May be repeated' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify-svid" -l trust-domain -d 'Trust domain that the signer must belong to, for example `example.org`; that of --expect-id, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify-svid" -l at -d 'Judge as of this moment, for example 2026-11-21T00:10:00Z; now, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify-svid" -l max-svid-lifetime -d 'Longest lifetime of an SVID; 0 for any' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify-svid" -l skew -d 'How far clocks may differ, at most 60 s, as in the cluster' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify-svid" -l expect-id -d 'SPIFFE ID that the leaf must carry' -r
complete -c countersign -n "__fish_countersign_using_subcommand verify-svid" -s o -l output -d 'How the result is written' -r -f -a "text\t'For people'
json\t'For scripts: stable names and codes'"
complete -c countersign -n "__fish_countersign_using_subcommand verify-svid" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand canonicalize" -l profile -d 'The canonical form' -r
complete -c countersign -n "__fish_countersign_using_subcommand canonicalize" -l numbers -d 'How numbers are read' -r -f -a "strict\t'Refuse numbers that cannot be kept exactly'
binary64\t'Read every number as an IEEE 754 double, as the A2A SDKs do'"
complete -c countersign -n "__fish_countersign_using_subcommand canonicalize" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l key -d 'Private key of the SVID: PEM, PKCS#8 or an older form, not encrypted' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l chain -d 'Certificates of the SVID: PEM, leaf first' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l workload-api -d 'Take key and chain from the SPIFFE Workload API at this socket' -r
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l lifetime -d 'How long the signature lasts; as long as the SVID, if absent. Past the SVID\'s end only `witnessed` verifiers accept it' -r
complete -c countersign -n "__fish_countersign_using_subcommand sign" -s o -l output -d 'Write the signed card to this file, whole or not at all, instead of standard output' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l timeout -d 'How long the Workload API may take to answer, in whole seconds [default: 30s]' -r
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l also-kagenti -d 'Add a second signature that kagenti\'s verifier accepts'
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l upgrade -d 'Write a card of A2A 0.2 or 0.3 in the members of 1.0 before it is signed, so that every current reader sees all of it: `url` and its companions become `supportedInterfaces`, for example. The agent has to serve the card that is written. A member that 1.0 cannot express, or does not know, refuses the card and is named. Without this flag a card is signed in the members that it has'
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l watch -d 'Run as the sidecar of a Pod: sign at once, and again whenever the SVID or the card changes'
complete -c countersign -n "__fish_countersign_using_subcommand sign" -l init -d 'Run as the init container of a Pod: sign once, with the same environment as --watch'
complete -c countersign -n "__fish_countersign_using_subcommand sign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l bundle -d 'For cards: trust bundle of the trust domain, or `TD=FILE` for another domain. May be repeated' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l trust-domain -d 'For cards: trust domain that the signer must belong to; that of --expect-id if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l expect-id -d 'SPIFFE ID of the workload that must have signed' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l policy -d 'File with the acceptance policy of each trust domain, as the operator reads it; instead of the flags for it' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l at -d 'Judge as of this moment, for example 2026-11-21T00:10:00Z; now, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l max-svid-lifetime -d 'Longest lifetime of an SVID; 0 for any' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l skew -d 'How far clocks may differ, at most 60 s, as in the cluster' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l coverage -d 'What to do about members that decide about security and are not signed' -r -f -a "strict\t'Refuse the card'
report\t'Accept the signed part and list the rest'"
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l profile -d 'Canonical forms to try instead of the first four; may be repeated or separated by commas' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l numbers -d 'How numbers are read' -r -f -a "strict\t'Refuse numbers that cannot be kept exactly'
binary64\t'Read every number as an IEEE 754 double, as the A2A SDKs do'"
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l freshness -d 'When a card is fresh' -r -f -a "live\t'Its leaf certificate is valid now'
witnessed\t'Its leaf is valid now, or the memory knows this content from when one was'"
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l max-age -d 'With `witnessed`: the longest time since this content was last verified under a valid SVID' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l memory -d 'File that remembers the accepted card of each workload, for --freshness witnessed and against replays. `verify` makes it when it does not exist, and writes it only when a card was verified and something changed; `explain` only reads it' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -s o -l output -d 'How the explanation is written' -r -f -a "text\t'For people'
json\t'For scripts: stable names and codes'"
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -l all-profiles -d 'Try all canonical forms, those of old SDKs too'
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand explain; and not __fish_seen_subcommand_from pod" -a "pod" -d 'Explain why a Pod has a sidecar, or has none'
complete -c countersign -n "__fish_countersign_using_subcommand explain; and __fish_seen_subcommand_from pod" -s n -l namespace -d 'Namespace of the Pod' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and __fish_seen_subcommand_from pod" -l operator-namespace -d 'Namespace of the operator' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and __fish_seen_subcommand_from pod" -l kubeconfig -d 'Kubeconfig file; the usual files, or the Pod\'s own service account, if absent' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand explain; and __fish_seen_subcommand_from pod" -l context -d 'Context of the kubeconfig; the current one, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and __fish_seen_subcommand_from pod" -l timeout -d 'How long one request may take' -r
complete -c countersign -n "__fish_countersign_using_subcommand explain; and __fish_seen_subcommand_from pod" -s o -l output -d 'How the explanation is written' -r -f -a "text\t'For people'
json\t'For scripts: stable names and codes'"
complete -c countersign -n "__fish_countersign_using_subcommand explain; and __fish_seen_subcommand_from pod" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand plan" -s f -l filename -d 'Manifest file, directory of *.yaml, *.yml and *.json files, or `-` for standard input, as in `kubectl kustomize DIR | countersign plan -f -`. May be repeated' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l bundle -d 'Trust bundle instead of the ConfigMap in the manifests; `TD=FILE` for another trust domain. May be repeated' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l trust-domain -d 'Trust domain of the agents; an AgentCard may name its own' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l bundle-config-map -d 'Name of the ConfigMap that carries the trust bundle' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l spiffe-id-template -d 'Identity that a workload must sign with, as the operator is told' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l ingress-host-suffix -d 'Domain under which an Ingress may name hosts of agents, as endpoints of their cards; with a namespace for its Ingresses alone. May be repeated' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l policy -d 'File with the acceptance policy of each trust domain, as the operator reads it; instead of the flags for it' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l at -d 'Judge as of this moment, for example 2026-11-21T00:10:00Z; now, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l max-svid-lifetime -d 'Longest lifetime of an SVID; 0 for any' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l skew -d 'How far clocks may differ, at most 60 s, as in the cluster' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l coverage -d 'What to do about members that decide about security and are not signed' -r -f -a "strict\t'Refuse the card'
report\t'Accept the signed part and list the rest'"
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l profile -d 'Canonical forms to try instead of the first four; may be repeated or separated by commas' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l numbers -d 'How numbers are read' -r -f -a "strict\t'Refuse numbers that cannot be kept exactly'
binary64\t'Read every number as an IEEE 754 double, as the A2A SDKs do'"
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l api-server -d 'Address of the API server, as in `kubectl get endpointslices -n default`. May be repeated' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l operator-namespace -d 'Namespace of the operator' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l caller -d 'Pods that may call verified agents besides agents, such as a gateway\'s, as for the operator. May be repeated' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l agent-namespace -d 'Namespace whose verified agents may call verified agents of all namespaces; with `--egress agents` name the called namespaces too. May be repeated' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l egress -d 'Where verified agents may go' -r -f -a "anywhere\t'Anywhere: agents call models and tools outside'
agents\t'Only to verified agents, DNS and the API server'"
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l sidecar-image -d 'Image of the sidecar, as the operator is told; an empty one injects nothing' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l sidecar-spire-host-path -d 'Folder of every node with the socket of SPIRE\'s agent, as the operator is told; without it the socket comes from the CSI driver' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l spire-csi-driver -d 'Whether the cluster has the CSI driver csi.spiffe.io, which the operator looks up' -r -f -a "true\t''
false\t''"
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l kube-version -d 'Version of Kubernetes, which the operator looks up: a sidecar is an init container that goes on running from 1.29 on' -r
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l mode -d 'Whether policies are planned at all' -r -f -a "enforce\t'Plan the policies'
audit\t'Judge the cards, and plan nothing'"
complete -c countersign -n "__fish_countersign_using_subcommand plan" -s o -l output -d 'YAML documents for people and kubectl, or one JSON object' -r -f -a "text\t'For people'
json\t'For scripts: stable names and codes'"
complete -c countersign -n "__fish_countersign_using_subcommand plan" -l all-profiles -d 'Try all canonical forms, those of old SDKs too'
complete -c countersign -n "__fish_countersign_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand policy" -l schema -d 'Print the JSON Schema of the file instead; schemas/policy.schema.json is this output'
complete -c countersign -n "__fish_countersign_using_subcommand policy" -s h -l help -d 'Print help'
complete -c countersign -n "__fish_countersign_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand check; and not __fish_seen_subcommand_from agent" -l namespace -d 'Namespace of the operator' -r
complete -c countersign -n "__fish_countersign_using_subcommand check; and not __fish_seen_subcommand_from agent" -l kubeconfig -d 'Kubeconfig file; the usual files, or the Pod\'s own service account, if absent' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand check; and not __fish_seen_subcommand_from agent" -l context -d 'Context of the kubeconfig; the current one, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand check; and not __fish_seen_subcommand_from agent" -l timeout -d 'How long one request may take' -r
complete -c countersign -n "__fish_countersign_using_subcommand check; and not __fish_seen_subcommand_from agent" -s o -l output -d 'How findings are written' -r -f -a "text\t'For people'
json\t'For scripts: stable names and codes'"
complete -c countersign -n "__fish_countersign_using_subcommand check; and not __fish_seen_subcommand_from agent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand check; and not __fish_seen_subcommand_from agent" -f -a "agent" -d 'Walk one agent from its workload to its packets'
complete -c countersign -n "__fish_countersign_using_subcommand check; and __fish_seen_subcommand_from agent" -s n -l namespace -d 'Namespace of the workload' -r
complete -c countersign -n "__fish_countersign_using_subcommand check; and __fish_seen_subcommand_from agent" -l kubeconfig -d 'Kubeconfig file; the usual files, or the Pod\'s own service account, if absent' -r -F
complete -c countersign -n "__fish_countersign_using_subcommand check; and __fish_seen_subcommand_from agent" -l context -d 'Context of the kubeconfig; the current one, if absent' -r
complete -c countersign -n "__fish_countersign_using_subcommand check; and __fish_seen_subcommand_from agent" -l timeout -d 'How long one request may take' -r
complete -c countersign -n "__fish_countersign_using_subcommand check; and __fish_seen_subcommand_from agent" -s o -l output -d 'How findings are written' -r -f -a "text\t'For people'
json\t'For scripts: stable names and codes'"
complete -c countersign -n "__fish_countersign_using_subcommand check; and __fish_seen_subcommand_from agent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand crd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand probe" -l timeout -d 'How long the answer may take, in seconds' -r
complete -c countersign -n "__fish_countersign_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c countersign -n "__fish_countersign_using_subcommand completions" -s h -l help -d 'Print help'
complete -c countersign -n "__fish_countersign_using_subcommand man" -s h -l help -d 'Print help'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "verify" -d 'Verify who signed a card'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "verify-svid" -d 'Verify an X.509-SVID and its chain over a trust bundle'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "canonicalize" -d 'Print the exact bytes that a signature under one profile covers'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "sign" -d 'Sign a card with an X.509-SVID'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "explain" -d 'Explain a reason, a rule, or how a card came to its verdict'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "plan" -d 'Print the objects that would be applied for a set of manifests'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "policy" -d 'Check a file with acceptance policies, before the operator or a pipeline reads it'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "schema" -d 'Print the JSON Schema of the JSON results of a command'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "check" -d 'Check a cluster before agents are enrolled, or one agent after'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "demo" -d 'Show the whole way: six agents on this machine, their verdicts and the policies that follow'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "crd" -d 'Print the custom resource definitions that the operator works with'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "probe" -d 'Ask an address and succeed if it answers 200, or if a file is written'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "completions" -d 'Print the completion script of a shell'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "man" -d 'Write the manual pages into a directory'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from verify verify-svid canonicalize sign explain plan policy schema check demo crd probe completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c countersign -n "__fish_countersign_using_subcommand help; and __fish_seen_subcommand_from explain" -f -a "pod" -d 'Explain why a Pod has a sidecar, or has none'
complete -c countersign -n "__fish_countersign_using_subcommand help; and __fish_seen_subcommand_from check" -f -a "agent" -d 'Walk one agent from its workload to its packets'
