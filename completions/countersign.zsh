#compdef countersign

autoload -U is-at-least

_countersign() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_countersign_commands" \
"*::: :->countersign" \
&& ret=0
    case $state in
    (countersign)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:countersign-command-$line[1]:"
        case $line[1] in
            (verify)
_arguments "${_arguments_options[@]}" : \
'*--bundle=[Trust bundle of the trust domain\: SPIFFE JSON, JWKS, PEM or a bundle map; \`TD=FILE\` for another domain. May be repeated]:[TD=]FILE:_default' \
'--trust-domain=[Trust domain that the signer must belong to, for example \`example.org\`; that of --expect-id, if absent]:TD:_default' \
'--expect-id=[SPIFFE ID of the workload that must have signed]:SPIFFE_ID:_default' \
'(--coverage --profile --all-profiles --numbers --max-svid-lifetime --skew)--policy=[File with the acceptance policy of each trust domain, as the operator reads it; instead of the flags for it]:FILE:_default' \
'--at=[Judge as of this moment, for example 2026-11-21T00\:10\:00Z; now, if absent]:RFC3339:_default' \
'--max-svid-lifetime=[Longest lifetime of an SVID; 0 for any]:DURATION:_default' \
'--skew=[How far clocks may differ, at most 60 s, as in the cluster]:DURATION:_default' \
'--coverage=[What to do about members that decide about security and are not signed]:COVERAGE:((strict\:"Refuse the card"
report\:"Accept the signed part and list the rest"))' \
'*--profile=[Canonical forms to try instead of the first four; may be repeated or separated by commas]:NAME:_default' \
'--numbers=[How numbers are read]:NUMBERS:((strict\:"Refuse numbers that cannot be kept exactly"
binary64\:"Read every number as an IEEE 754 double, as the A2A SDKs do"))' \
'(--policy)--freshness=[When a card is fresh]:FRESHNESS:((live\:"Its leaf certificate is valid now"
witnessed\:"Its leaf is valid now, or the memory knows this content from when one was"))' \
'(--policy)--max-age=[With \`witnessed\`\: the longest time since this content was last verified under a valid SVID]:DURATION:_default' \
'--memory=[File that remembers the accepted card of each workload, for --freshness witnessed and against replays. \`verify\` makes it when it does not exist, and writes it only when a card was verified and something changed; \`explain\` only reads it]:FILE:_files' \
'--signed-card=[Write the card that was signed to a file\: exactly the bytes that the signature covers, without members that it leaves out. Written only if the card is verified; for one card]:FILE:_files' \
'-o+[How the verdict is written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"
sarif\:"SARIF 2.1.0, for code scanning"))' \
'--output=[How the verdict is written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"
sarif\:"SARIF 2.1.0, for code scanning"))' \
'(--profile)--all-profiles[Try all canonical forms, those of old SDKs too]' \
'(--memory)--any-workload[Accept a signature of any workload of the trust domain, instead of --expect-id]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::cards -- The cards\: files, `-` for standard input, http(s) URLs, directories, or patterns with `*`, `?` and `**`. A URL without a path means the agent'\''s well-known address; a directory means all *.json files in and below it:_default' \
&& ret=0
;;
(verify-svid)
_arguments "${_arguments_options[@]}" : \
'*--bundle=[Trust bundle of the trust domain\: SPIFFE JSON, JWKS, PEM or a bundle map; \`TD=FILE\` for another domain. May be repeated]:[TD=]FILE:_default' \
'--trust-domain=[Trust domain that the signer must belong to, for example \`example.org\`; that of --expect-id, if absent]:TD:_default' \
'--at=[Judge as of this moment, for example 2026-11-21T00\:10\:00Z; now, if absent]:RFC3339:_default' \
'--max-svid-lifetime=[Longest lifetime of an SVID; 0 for any]:DURATION:_default' \
'--skew=[How far clocks may differ, at most 60 s, as in the cluster]:DURATION:_default' \
'--expect-id=[SPIFFE ID that the leaf must carry]:SPIFFE_ID:_default' \
'-o+[How the result is written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'--output=[How the result is written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':chain -- PEM certificates, leaf first\: a file, or `-` for standard input:_files' \
&& ret=0
;;
(canonicalize)
_arguments "${_arguments_options[@]}" : \
'--profile=[The canonical form]:NAME:_default' \
'--numbers=[How numbers are read]:NUMBERS:((strict\:"Refuse numbers that cannot be kept exactly"
binary64\:"Read every number as an IEEE 754 double, as the A2A SDKs do"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':card -- The card\: a file, or `-` for standard input:_files' \
&& ret=0
;;
(sign)
_arguments "${_arguments_options[@]}" : \
'--key=[Private key of the SVID\: PEM, PKCS#8 or an older form, not encrypted]:KEY.pem:_files' \
'--chain=[Certificates of the SVID\: PEM, leaf first]:CHAIN.pem:_files' \
'(--key --chain)--workload-api=[Take key and chain from the SPIFFE Workload API at this socket]:SOCKET:_default' \
'--lifetime=[How long the signature lasts; as long as the SVID, if absent. Past the SVID'\''s end only \`witnessed\` verifiers accept it]:DURATION:_default' \
'-o+[Write the signed card to this file, whole or not at all, instead of standard output]:FILE:_files' \
'--output=[Write the signed card to this file, whole or not at all, instead of standard output]:FILE:_files' \
'--timeout=[How long the Workload API may take to answer, in whole seconds \[default\: 30s\]]:DURATION:_default' \
'--also-kagenti[Add a second signature that kagenti'\''s verifier accepts]' \
'--upgrade[Write a card of A2A 0.2 or 0.3 in the members of 1.0 before it is signed, so that every current reader sees all of it\: \`url\` and its companions become \`supportedInterfaces\`, for example. The agent has to serve the card that is written. A member that 1.0 cannot express, or does not know, refuses the card and is named. Without this flag a card is signed in the members that it has]' \
'(--key --chain --init)--watch[Run as the sidecar of a Pod\: sign at once, and again whenever the SVID or the card changes]' \
'(--key --chain)--init[Run as the init container of a Pod\: sign once, with the same environment as --watch]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'::card -- The card\: a file, or `-` for standard input:_files' \
&& ret=0
;;
(explain)
_arguments "${_arguments_options[@]}" : \
'*--bundle=[For cards\: trust bundle of the trust domain, or \`TD=FILE\` for another domain. May be repeated]:[TD=]FILE:_default' \
'--trust-domain=[For cards\: trust domain that the signer must belong to; that of --expect-id if absent]:TD:_default' \
'--expect-id=[SPIFFE ID of the workload that must have signed]:SPIFFE_ID:_default' \
'(--coverage --profile --all-profiles --numbers --max-svid-lifetime --skew)--policy=[File with the acceptance policy of each trust domain, as the operator reads it; instead of the flags for it]:FILE:_default' \
'--at=[Judge as of this moment, for example 2026-11-21T00\:10\:00Z; now, if absent]:RFC3339:_default' \
'--max-svid-lifetime=[Longest lifetime of an SVID; 0 for any]:DURATION:_default' \
'--skew=[How far clocks may differ, at most 60 s, as in the cluster]:DURATION:_default' \
'--coverage=[What to do about members that decide about security and are not signed]:COVERAGE:((strict\:"Refuse the card"
report\:"Accept the signed part and list the rest"))' \
'*--profile=[Canonical forms to try instead of the first four; may be repeated or separated by commas]:NAME:_default' \
'--numbers=[How numbers are read]:NUMBERS:((strict\:"Refuse numbers that cannot be kept exactly"
binary64\:"Read every number as an IEEE 754 double, as the A2A SDKs do"))' \
'(--policy)--freshness=[When a card is fresh]:FRESHNESS:((live\:"Its leaf certificate is valid now"
witnessed\:"Its leaf is valid now, or the memory knows this content from when one was"))' \
'(--policy)--max-age=[With \`witnessed\`\: the longest time since this content was last verified under a valid SVID]:DURATION:_default' \
'--memory=[File that remembers the accepted card of each workload, for --freshness witnessed and against replays. \`verify\` makes it when it does not exist, and writes it only when a card was verified and something changed; \`explain\` only reads it]:FILE:_files' \
'-o+[How the explanation is written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'--output=[How the explanation is written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'(--profile)--all-profiles[Try all canonical forms, those of old SDKs too]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':subjects -- Reason codes, rules, or cards\: files, `-` for standard input, or http(s) URLs:_default' \
":: :_countersign__subcmd__explain_commands" \
"*::: :->explain" \
&& ret=0

    case $state in
    (explain)
        words=($line[2] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:countersign-explain-command-$line[2]:"
        case $line[2] in
            (pod)
_arguments "${_arguments_options[@]}" : \
'-n+[Namespace of the Pod]:NAME:_default' \
'--namespace=[Namespace of the Pod]:NAME:_default' \
'--operator-namespace=[Namespace of the operator]:NAME:_default' \
'--kubeconfig=[Kubeconfig file; the usual files, or the Pod'\''s own service account, if absent]:FILE:_files' \
'--context=[Context of the kubeconfig; the current one, if absent]:NAME:_default' \
'--timeout=[How long one request may take]:DURATION:_default' \
'-o+[How the explanation is written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'--output=[How the explanation is written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- Name of the Pod:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
(plan)
_arguments "${_arguments_options[@]}" : \
'*-f+[Manifest file, directory of *.yaml, *.yml and *.json files, or \`-\` for standard input, as in \`kubectl kustomize DIR | countersign plan -f -\`. May be repeated]:FILE|DIR:_files' \
'*--filename=[Manifest file, directory of *.yaml, *.yml and *.json files, or \`-\` for standard input, as in \`kubectl kustomize DIR | countersign plan -f -\`. May be repeated]:FILE|DIR:_files' \
'*--bundle=[Trust bundle instead of the ConfigMap in the manifests; \`TD=FILE\` for another trust domain. May be repeated]:[TD=]FILE:_default' \
'--trust-domain=[Trust domain of the agents; an AgentCard may name its own]:TD:_default' \
'--bundle-config-map=[Name of the ConfigMap that carries the trust bundle]:NAME:_default' \
'--spiffe-id-template=[Identity that a workload must sign with, as the operator is told]:TEMPLATE:_default' \
'*--ingress-host-suffix=[Domain under which an Ingress may name hosts of agents, as endpoints of their cards; with a namespace for its Ingresses alone. May be repeated]:[NAMESPACE:]DOMAIN:_default' \
'(--coverage --profile --all-profiles --numbers --max-svid-lifetime --skew)--policy=[File with the acceptance policy of each trust domain, as the operator reads it; instead of the flags for it]:FILE:_default' \
'--at=[Judge as of this moment, for example 2026-11-21T00\:10\:00Z; now, if absent]:RFC3339:_default' \
'--max-svid-lifetime=[Longest lifetime of an SVID; 0 for any]:DURATION:_default' \
'--skew=[How far clocks may differ, at most 60 s, as in the cluster]:DURATION:_default' \
'--coverage=[What to do about members that decide about security and are not signed]:COVERAGE:((strict\:"Refuse the card"
report\:"Accept the signed part and list the rest"))' \
'*--profile=[Canonical forms to try instead of the first four; may be repeated or separated by commas]:NAME:_default' \
'--numbers=[How numbers are read]:NUMBERS:((strict\:"Refuse numbers that cannot be kept exactly"
binary64\:"Read every number as an IEEE 754 double, as the A2A SDKs do"))' \
'*--api-server=[Address of the API server, as in \`kubectl get endpointslices -n default\`. May be repeated]:IP:PORT:_default' \
'--operator-namespace=[Namespace of the operator]:NAME:_default' \
'*--caller=[Pods that may call verified agents besides agents, such as a gateway'\''s, as for the operator. May be repeated]:NAMESPACE[:key=value,…]:_default' \
'*--agent-namespace=[Namespace whose verified agents may call verified agents of all namespaces; with \`--egress agents\` name the called namespaces too. May be repeated]:NAMESPACE:_default' \
'--egress=[Where verified agents may go]:EGRESS:((anywhere\:"Anywhere\: agents call models and tools outside"
agents\:"Only to verified agents, DNS and the API server"))' \
'--sidecar-image=[Image of the sidecar, as the operator is told; an empty one injects nothing]:IMAGE:_default' \
'--sidecar-spire-host-path=[Folder of every node with the socket of SPIRE'\''s agent, as the operator is told; without it the socket comes from the CSI driver]:DIR:_default' \
'--spire-csi-driver=[Whether the cluster has the CSI driver csi.spiffe.io, which the operator looks up]:BOOL:(true false)' \
'--kube-version=[Version of Kubernetes, which the operator looks up\: a sidecar is an init container that goes on running from 1.29 on]:VERSION:_default' \
'--mode=[Whether policies are planned at all]:MODE:((enforce\:"Plan the policies"
audit\:"Judge the cards, and plan nothing"))' \
'-o+[YAML documents for people and kubectl, or one JSON object]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'--output=[YAML documents for people and kubectl, or one JSON object]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'(--profile)--all-profiles[Try all canonical forms, those of old SDKs too]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(policy)
_arguments "${_arguments_options[@]}" : \
'()--schema[Print the JSON Schema of the file instead; schemas/policy.schema.json is this output]' \
'-h[Print help]' \
'--help[Print help]' \
'::file -- File to check, or `-` for standard input:_files' \
&& ret=0
;;
(schema)
_arguments "${_arguments_options[@]}" : \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'::results -- The command whose results are described:((verify\:"Those of \`verify\` and \`verify-svid\`\: schemas/report.schema.json"
check\:"Those of \`check\` and \`check agent\`\: schemas/check.schema.json"))' \
&& ret=0
;;
(check)
_arguments "${_arguments_options[@]}" : \
'--namespace=[Namespace of the operator]:NAME:_default' \
'--kubeconfig=[Kubeconfig file; the usual files, or the Pod'\''s own service account, if absent]:FILE:_files' \
'--context=[Context of the kubeconfig; the current one, if absent]:NAME:_default' \
'--timeout=[How long one request may take]:DURATION:_default' \
'-o+[How findings are written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'--output=[How findings are written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_countersign__subcmd__check_commands" \
"*::: :->check" \
&& ret=0

    case $state in
    (check)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:countersign-check-command-$line[1]:"
        case $line[1] in
            (agent)
_arguments "${_arguments_options[@]}" : \
'-n+[Namespace of the workload]:NAME:_default' \
'--namespace=[Namespace of the workload]:NAME:_default' \
'--kubeconfig=[Kubeconfig file; the usual files, or the Pod'\''s own service account, if absent]:FILE:_files' \
'--context=[Context of the kubeconfig; the current one, if absent]:NAME:_default' \
'--timeout=[How long one request may take]:DURATION:_default' \
'-o+[How findings are written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'--output=[How findings are written]:OUTPUT:((text\:"For people"
json\:"For scripts\: stable names and codes"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- Name of the workload, such as `weather`, `deployment/weather` or `statefulset/weather`:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
(demo)
_arguments "${_arguments_options[@]}" : \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(crd)
_arguments "${_arguments_options[@]}" : \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(probe)
_arguments "${_arguments_options[@]}" : \
'--timeout=[How long the answer may take, in seconds]:SECONDS:_default' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':url -- The address, for example `http\://localhost\:8081/readyz` or `file\:///card/agent-card.json`:_default' \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
':shell -- The shell:(bash elvish fish powershell zsh)' \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
':directory -- An existing directory:_files' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_countersign__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:countersign-help-command-$line[1]:"
        case $line[1] in
            (verify)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(verify-svid)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(canonicalize)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(sign)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(explain)
_arguments "${_arguments_options[@]}" : \
":: :_countersign__subcmd__help__subcmd__explain_commands" \
"*::: :->explain" \
&& ret=0

    case $state in
    (explain)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:countersign-help-explain-command-$line[1]:"
        case $line[1] in
            (pod)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(plan)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(policy)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(schema)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(check)
_arguments "${_arguments_options[@]}" : \
":: :_countersign__subcmd__help__subcmd__check_commands" \
"*::: :->check" \
&& ret=0

    case $state in
    (check)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:countersign-help-check-command-$line[1]:"
        case $line[1] in
            (agent)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(demo)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(crd)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(probe)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_countersign_commands] )) ||
_countersign_commands() {
    local commands; commands=(
'verify:Verify who signed a card' \
'verify-svid:Verify an X.509-SVID and its chain over a trust bundle' \
'canonicalize:Print the exact bytes that a signature under one profile covers' \
'sign:Sign a card with an X.509-SVID' \
'explain:Explain a reason, a rule, or how a card came to its verdict' \
'plan:Print the objects that would be applied for a set of manifests' \
'policy:Check a file with acceptance policies, before the operator or a pipeline reads it' \
'schema:Print the JSON Schema of the JSON results of a command' \
'check:Check a cluster before agents are enrolled, or one agent after' \
'demo:Show the whole way\: six agents on this machine, their verdicts and the policies that follow' \
'crd:Print the custom resource definitions that the operator works with' \
'probe:Ask an address and succeed if it answers 200, or if a file is written' \
'completions:Print the completion script of a shell' \
'man:Write the manual pages into a directory' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'countersign commands' commands "$@"
}
(( $+functions[_countersign__subcmd__canonicalize_commands] )) ||
_countersign__subcmd__canonicalize_commands() {
    local commands; commands=()
    _describe -t commands 'countersign canonicalize commands' commands "$@"
}
(( $+functions[_countersign__subcmd__check_commands] )) ||
_countersign__subcmd__check_commands() {
    local commands; commands=(
'agent:Walk one agent from its workload to its packets' \
    )
    _describe -t commands 'countersign check commands' commands "$@"
}
(( $+functions[_countersign__subcmd__check__subcmd__agent_commands] )) ||
_countersign__subcmd__check__subcmd__agent_commands() {
    local commands; commands=()
    _describe -t commands 'countersign check agent commands' commands "$@"
}
(( $+functions[_countersign__subcmd__completions_commands] )) ||
_countersign__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'countersign completions commands' commands "$@"
}
(( $+functions[_countersign__subcmd__crd_commands] )) ||
_countersign__subcmd__crd_commands() {
    local commands; commands=()
    _describe -t commands 'countersign crd commands' commands "$@"
}
(( $+functions[_countersign__subcmd__demo_commands] )) ||
_countersign__subcmd__demo_commands() {
    local commands; commands=()
    _describe -t commands 'countersign demo commands' commands "$@"
}
(( $+functions[_countersign__subcmd__explain_commands] )) ||
_countersign__subcmd__explain_commands() {
    local commands; commands=(
'pod:Explain why a Pod has a sidecar, or has none' \
    )
    _describe -t commands 'countersign explain commands' commands "$@"
}
(( $+functions[_countersign__subcmd__explain__subcmd__pod_commands] )) ||
_countersign__subcmd__explain__subcmd__pod_commands() {
    local commands; commands=()
    _describe -t commands 'countersign explain pod commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help_commands] )) ||
_countersign__subcmd__help_commands() {
    local commands; commands=(
'verify:Verify who signed a card' \
'verify-svid:Verify an X.509-SVID and its chain over a trust bundle' \
'canonicalize:Print the exact bytes that a signature under one profile covers' \
'sign:Sign a card with an X.509-SVID' \
'explain:Explain a reason, a rule, or how a card came to its verdict' \
'plan:Print the objects that would be applied for a set of manifests' \
'policy:Check a file with acceptance policies, before the operator or a pipeline reads it' \
'schema:Print the JSON Schema of the JSON results of a command' \
'check:Check a cluster before agents are enrolled, or one agent after' \
'demo:Show the whole way\: six agents on this machine, their verdicts and the policies that follow' \
'crd:Print the custom resource definitions that the operator works with' \
'probe:Ask an address and succeed if it answers 200, or if a file is written' \
'completions:Print the completion script of a shell' \
'man:Write the manual pages into a directory' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'countersign help commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__canonicalize_commands] )) ||
_countersign__subcmd__help__subcmd__canonicalize_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help canonicalize commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__check_commands] )) ||
_countersign__subcmd__help__subcmd__check_commands() {
    local commands; commands=(
'agent:Walk one agent from its workload to its packets' \
    )
    _describe -t commands 'countersign help check commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__check__subcmd__agent_commands] )) ||
_countersign__subcmd__help__subcmd__check__subcmd__agent_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help check agent commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__completions_commands] )) ||
_countersign__subcmd__help__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help completions commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__crd_commands] )) ||
_countersign__subcmd__help__subcmd__crd_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help crd commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__demo_commands] )) ||
_countersign__subcmd__help__subcmd__demo_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help demo commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__explain_commands] )) ||
_countersign__subcmd__help__subcmd__explain_commands() {
    local commands; commands=(
'pod:Explain why a Pod has a sidecar, or has none' \
    )
    _describe -t commands 'countersign help explain commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__explain__subcmd__pod_commands] )) ||
_countersign__subcmd__help__subcmd__explain__subcmd__pod_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help explain pod commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__help_commands] )) ||
_countersign__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help help commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__man_commands] )) ||
_countersign__subcmd__help__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help man commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__plan_commands] )) ||
_countersign__subcmd__help__subcmd__plan_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help plan commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__policy_commands] )) ||
_countersign__subcmd__help__subcmd__policy_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help policy commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__probe_commands] )) ||
_countersign__subcmd__help__subcmd__probe_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help probe commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__schema_commands] )) ||
_countersign__subcmd__help__subcmd__schema_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help schema commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__sign_commands] )) ||
_countersign__subcmd__help__subcmd__sign_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help sign commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__verify_commands] )) ||
_countersign__subcmd__help__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help verify commands' commands "$@"
}
(( $+functions[_countersign__subcmd__help__subcmd__verify-svid_commands] )) ||
_countersign__subcmd__help__subcmd__verify-svid_commands() {
    local commands; commands=()
    _describe -t commands 'countersign help verify-svid commands' commands "$@"
}
(( $+functions[_countersign__subcmd__man_commands] )) ||
_countersign__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'countersign man commands' commands "$@"
}
(( $+functions[_countersign__subcmd__plan_commands] )) ||
_countersign__subcmd__plan_commands() {
    local commands; commands=()
    _describe -t commands 'countersign plan commands' commands "$@"
}
(( $+functions[_countersign__subcmd__policy_commands] )) ||
_countersign__subcmd__policy_commands() {
    local commands; commands=()
    _describe -t commands 'countersign policy commands' commands "$@"
}
(( $+functions[_countersign__subcmd__probe_commands] )) ||
_countersign__subcmd__probe_commands() {
    local commands; commands=()
    _describe -t commands 'countersign probe commands' commands "$@"
}
(( $+functions[_countersign__subcmd__schema_commands] )) ||
_countersign__subcmd__schema_commands() {
    local commands; commands=()
    _describe -t commands 'countersign schema commands' commands "$@"
}
(( $+functions[_countersign__subcmd__sign_commands] )) ||
_countersign__subcmd__sign_commands() {
    local commands; commands=()
    _describe -t commands 'countersign sign commands' commands "$@"
}
(( $+functions[_countersign__subcmd__verify_commands] )) ||
_countersign__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'countersign verify commands' commands "$@"
}
(( $+functions[_countersign__subcmd__verify-svid_commands] )) ||
_countersign__subcmd__verify-svid_commands() {
    local commands; commands=()
    _describe -t commands 'countersign verify-svid commands' commands "$@"
}

if [ "$funcstack[1]" = "_countersign" ]; then
    _countersign "$@"
else
    compdef _countersign countersign
fi
