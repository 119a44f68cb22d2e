//! Limits of the data plane, each with its reason. Those of cards are in [`countersign_core::limits`].

use countersign_core::json::JsonLimits;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Longest access token, in bytes: what fits into the largest header block, with room for other fields.
pub const TOKEN_BYTES: usize = 16 * 1024;
/// Largest answer of a token endpoint, in bytes: access, refresh and ID token together.
pub const TOKEN_RESPONSE_BYTES: usize = 64 * 1024;
/// Largest key set of an issuer, in bytes: 64 keys with their certificate chains.
pub const KEY_SET_BYTES: usize = 256 * 1024;
/// Most keys of one set; issuers publish 2 to 6, one for each algorithm and some while they rotate.
pub const KEY_SET_KEYS: usize = 64;
/// Most audiences or scopes of one token.
pub const TOKEN_LIST_ITEMS: usize = 256;

/// Seconds by which the clock of whoever issues tokens may differ, unless the configuration names another: synchronized clocks
/// differ by less than a second, and a node that has just started by some.
pub const CLOCK_SKEW: u32 = 30;

/// What a JWT-SVID must still have to be handed out while its renewal is under way: the token endpoint verifies it after a
/// call of at most 10 s. One that has less is handed out only if its renewal fails.
pub const SVID_MARGIN: Duration = Duration::from_secs(10);

/// Longest time for which a reload waits for the first keys and credentials of the new configuration. The old one serves
/// meanwhile, and somebody may be waiting for the new one to count: one connection and a slow answer.
pub const FETCH_BEFORE_SWAP: Duration = Duration::from_secs(5);

/// Longest time for which a reload waits until nobody writes into the folder of the configuration: the kubelet replaces a volume
/// in less than a second, and a program that has a log there never ends.
pub const LONGEST_SETTLE: Duration = Duration::from_secs(5);

/// Memory that is set aside for each connection whose request is being read, in bytes: the largest header block of
/// HTTP/1.1. `limits.memory` is counted in it.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Fewest of these units that a listener has, whatever is configured: two connections of HTTP/2.
pub const FEWEST_HEADS: usize = 16;
/// Connections that a configuration may allow a listener, or one peer of it: none would serve nobody, and the most are the
/// descriptors that Linux lets a process have unless it is told otherwise (`fs.nr_open`).
pub const CONNECTIONS: RangeInclusive<usize> = 1..=1_048_576;
/// Bytes that a configuration may set aside for what is half read, from [`FEWEST_HEADS`] to the largest header block of the
/// most connections: 1 MiB to 64 GiB.
pub const HALF_READ_BYTES: RangeInclusive<usize> = 1_048_576..=68_719_476_736;
/// Time that a configuration may give a header or a TLS handshake: a round trip around the world takes 300 ms, of which a
/// machine nearby needs none, and a header that takes an hour is an attack.
pub const HEADER_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
/// Time that a configuration may give an answer to begin: a shorter one ends honest requests, and a longer one than a week
/// outlives the agent.
pub const RESPONSE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(168);
/// Time that a configuration may let a connection or a tunnel be silent: below a second, pauses of honest programs end it, and
/// beyond a week keepalive has found whoever is gone.
pub const SILENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(168);
/// Time that a configuration may let pass before the kernel probes a connection: it counts in seconds, at most 32,767 (`tcp(7)`).
pub const KEEPALIVE_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(9);
/// Sessions, and events of each, that a configuration may keep; `session.enabled` is for none. They are listed in one answer.
pub const SESSION_ITEMS: RangeInclusive<usize> = 1..=100_000;
/// Bytes that a configuration may let events take: 64 KiB hold some, and what is for people to look at needs no more than 1 GiB.
pub const SESSION_BYTES: RangeInclusive<usize> = 65_536..=1_073_741_824;
/// Time for which a configuration may keep a session without events: a second to a month.
pub const SESSION_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(720);
/// Time for which a configuration may let keys count that could not be fetched again: they are fetched every 5 min, which
/// takes a moment, and a key that was withdrawn a month ago is no longer trusted.
pub const KEYS_MAX_AGE: RangeInclusive<Duration> = Duration::from_mins(6)..=Duration::from_hours(720);

/// Window of an HTTP/2 connection and of each of its streams, in bytes: what a peer may send before it is read. 256 KiB
/// every 10 ms are 25 MB/s.
pub const HTTP2_WINDOW: u32 = 256 * 1024;
/// Most connections of an admin server, and of one peer to it: the kubelet, a few scrapers, and people with event streams.
pub const ADMIN_CONNECTIONS: (usize, usize) = (256, 64);
/// Most peers whose half read memory is compared to find the one that makes room, those first whose connections are read with
/// the most: each takes some 10 ns, and a flood of more peers than these is not one neighbour.
pub const COMPARED_PEERS: usize = 64;
/// Connections that are accepted in one turn of a listener. Accepting one takes about 20 µs with all that follows, so a turn
/// keeps the core for less than half a millisecond from whoever is ready.
pub const ACCEPTED_AT_ONCE: usize = 16;
/// Most arrivals of a listener that wait because another connection of their own peer must end for them. They come beside the
/// connections that it may have.
pub const WAITING_ARRIVALS: usize = 128;
/// The fewest that may wait, however few connections a listener may have: a client opens some at once.
pub const FEW_WAITING: usize = 16;
/// Connections that a listener may have for each arrival that may wait so, where descriptors are few.
pub const CONNECTIONS_PER_WAITING: usize = 8;
/// Time for which such an arrival is waited for to say something: clients of HTTP and TLS do so at once.
pub const SILENT_ARRIVAL: Duration = Duration::from_millis(250);
/// Least time between two that stay silent and replace another connection then.
pub const SILENT_GAP: Duration = Duration::from_millis(4);
/// Bytes that are read of a connection that is refused, so that it is not reset: a usual request. They lie on the stack.
pub const REFUSED_BYTES: usize = 16 * 1024;
/// Connections of one listener that such arrivals replace in a second, and that one peer ends of its own for memory: 40 to 80 ms
/// of CPU time. No honest peer that already has thousands of connections opens others as fast.
pub const REPLACED_PER_SECOND: u64 = 1000;
/// The same at once: what a pool of clients opens after a restart.
pub const REPLACED_AT_ONCE: u64 = 256;
/// Length up to which the line of those that wait so is not searched for the ones that have left: a search costs more than they
/// hold.
pub const UNSEARCHED_LINE: usize = 64;
/// Mask of an IPv6 address that counts as one peer: the prefix of a subnet, of which one host has every address.
pub const IPV6_PREFIX: u128 = u128::MAX << 64;
/// Connections of each listener that are served whatever the limit on open files says: fewer would be no service.
pub const FEW_CONNECTIONS: usize = 64;
/// Descriptors beside those of connections and of arrivals that wait: listeners, files, the identity provider, the Workload
/// API and the admin servers.
pub const OTHER_DESCRIPTORS: usize = 512;

/// Longest time in which a tunnel passes no byte, unless the configuration names another. As long as proxies usually allow:
/// whoever only waits for events is silent for minutes, and whoever sends pings never is.
pub const TUNNEL_IDLE: Duration = Duration::from_hours(1);
/// The same once one side has ended: as long as an answer may take, for which the other side may still be waited.
pub const HALF_CLOSED: Duration = Duration::from_mins(5);
/// Idle time of a TCP connection after which its other end is probed. NAT gateways and firewalls commonly forget a connection
/// after 5 min or more without a packet.
pub const KEEPALIVE: Duration = Duration::from_mins(1);
/// Time between two probes that are not answered.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Probes without an answer after which the kernel ends a connection: with the two above, after 2 min.
pub const KEEPALIVE_PROBES: u32 = 4;

/// Longest time for the addresses of a server's name: as long as resolvers wait for one name server (resolv.conf(5)).
pub const RESOLVE: Duration = Duration::from_secs(5);
/// Longest time for a TCP connection to one address of a server: the kernel sends a lost SYN again after 1 and 3 s.
pub const DIAL: Duration = Duration::from_secs(5);
/// Time after which the next address of a server is tried beside those under way (RFC 8305 §8).
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);
/// Most addresses of a server that are tried: more are copies of one load balancer.
pub const DIAL_ADDRESSES: usize = 16;
/// Longest time for the TLS handshake with a server.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// Most chains of peers whose result is kept until the identity changes, 100 bytes each: more than an agent has callers and
/// servers. Those beyond are verified for each of their connections.
pub const VERIFIED_AGAIN: usize = 4096;

/// Most destinations of other protocols than HTTP and TLS that are told, one log line each: an agent could call ever others.
pub const TOLD_DESTINATIONS: usize = 256;

/// Longest pattern for hosts or paths, in bytes: a DNS name has at most 253.
pub const GLOB_BYTES: usize = 256;
/// Most texts that the braces of one pattern stand for: they multiply.
pub const GLOB_VARIANTS: usize = 64;

/// JSON limits of a key set; a JWK is at most an array of strings in an object in `keys`.
pub const KEY_SET: JsonLimits = JsonLimits { bytes: KEY_SET_BYTES, depth: 8, ..JsonLimits::CARD };

/// JSON limits of a token response; RFC 6749 §5.1 needs five members, servers add some of their own.
pub const TOKEN_RESPONSE: JsonLimits =
    JsonLimits { bytes: TOKEN_RESPONSE_BYTES, depth: 8, nodes: 256, ..JsonLimits::CARD };

/// JSON limits of the claims of an access token; Keycloak nests roles by client.
pub const CLAIMS: JsonLimits = JsonLimits { bytes: TOKEN_BYTES, depth: 16, nodes: 4096, ..JsonLimits::CARD };

/// Largest body, server-sent event or message of gRPC that parsers read for session events, in bytes; a larger one passes
/// unread. Calls are 1 to 16 KiB; answers with files in them are larger, and of no interest here.
pub const CALL_BYTES: usize = 64 * 1024;
/// Most bytes that parsers hold of all bodies under way together: 256 of the largest. Bodies beyond that pass unread.
pub const CALLS_BYTES: usize = 256 * CALL_BYTES;
/// Most of [`CALLS_BYTES`] for one user in one direction: 64 of the largest. Whoever fills it leaves the bodies of others
/// readable.
pub const CALLS_SHARE_BYTES: usize = CALLS_BYTES / 4;
/// Most bytes of one answer whose messages are parsed one by one, [`MESSAGE_COST`] added for each: the stream of a long
/// answer of a language model. Of what follows, the last two messages are parsed, since they tell how it ended; all are
/// while half of the memory for bodies is taken, and then none is kept.
pub const STREAM_BYTES: usize = 4 * 1024 * 1024;
/// What a message costs beside its bytes, so that a stream of empty ones is bounded too.
pub const MESSAGE_COST: usize = 256;

/// JSON limits of a call or its answer.
pub const CALL: JsonLimits = JsonLimits { bytes: CALL_BYTES, ..JsonLimits::CARD };
