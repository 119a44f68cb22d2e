//! Limits of the webhook, which whoever reaches its port may call, each with its reason.

use std::time::Duration;

/// Longest body of a request, in bytes. An object in etcd has 1.5 MiB at most, and a review carries it as it is and as it was,
/// with what the API server adds.
pub(super) const BODY_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of bodies that are received at once, whoever sends them; further bytes wait. Together with one review that is read, some
/// 80 MiB of the 256 MiB that the chart allows.
pub(super) const BODIES_BYTES: usize = 4 * BODY_BYTES;
/// The same for one address, so that it leaves as much to others.
pub(super) const BODIES_OF_ADDRESS_BYTES: usize = BODIES_BYTES / 2;
/// Unit in which bytes of bodies are counted.
pub(super) const UNIT: usize = 1024;
/// Longest time without a byte of a body that has begun. The API server has the whole body when it starts to send.
pub(super) const PROGRESS: Duration = Duration::from_millis(500);
/// Most objects and strings with a brace in one body. Each takes up to 640 bytes in memory, and a body of nothing else would
/// take more than the process may have; a large Pod has some thousands.
pub(super) const BRACES: usize = 100_000;
/// Longest head of a request, in bytes: the API server's has some 400.
pub(super) const HEAD_BYTES: usize = 16 * 1024;
/// Longest time for a handshake, and for the first head after it. The API server waits 3 s for the whole answer.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest time without a request on an open connection. The API server closes idle ones after 90 s, and must be the first to
/// do so: a request that meets a closed connection is lost.
pub(super) const IDLE: Duration = Duration::from_mins(3);
/// Longest time to receive a body, with the wait for room.
pub(super) const BODY: Duration = Duration::from_secs(2);
/// Longest time for one request. The configuration tells the API server to wait 3 s, so a later answer has no reader.
pub(super) const REQUEST: Duration = Duration::from_secs(3);
/// Most open connections; for further ones, the one that has been idle for longest makes room.
pub(super) const CONNECTIONS: usize = 1280;
/// Most open connections of one address, so that one Pod does not keep an API server out. An API server has up to 600 requests
/// in flight by its defaults, HTTP/1.1 takes a connection for each, and a Pod whose connection is closed is admitted as it is.
pub(super) const CONNECTIONS_OF_ADDRESS: usize = 640;
/// Time for which new connections are still served after the end was requested. Until every node has learned that this Pod is
/// no endpoint any more, some API server still comes here, and Pods that it does not reach it about are admitted as they are, or
/// refused by `guard-sidecars`. kube-proxy writes its rules once a second at most, and later on a node that is busy.
pub(super) const LINGER: Duration = Duration::from_secs(5);
/// Longest time for requests in flight to be answered after the end was requested.
pub(super) const DRAIN: Duration = Duration::from_secs(1);
/// Longest text of an error about a body, in characters.
pub(super) const PROBLEM_CHARACTERS: usize = 300;
/// Time between two attempts to read files that have held no certificate yet.
pub(super) const FIRST_FILES: Duration = Duration::from_secs(2);
/// Time between two looks at the certificate by the clock. Nothing is read from the API server for it.
pub(super) const LOOK: Duration = Duration::from_mins(10);
/// Time after a write within which the watch reports it.
pub(super) const WRITTEN: Duration = Duration::from_secs(10);
/// Time between two attempts to write what was refused.
pub(super) const RETRY: Duration = Duration::from_secs(5);
/// Shortest time between two patches of the configuration: somebody else who sets it otherwise is no reason for a storm.
pub(super) const PATCHES_APART: Duration = Duration::from_secs(1);
