//! Connections, from the accept loop to single requests. The loop itself never reads, so a silent client delays nobody.

mod accept;
mod connection;
mod crowd;
mod descriptors;
mod http2_rest;
mod members;
mod original;
mod overload;
mod pace;
mod paced;
mod prefix;
mod queue;
mod stream;
mod tunnel;
mod turns;
mod waiting;

pub(crate) use accept::{Arrival, Listeners, bind};
pub(crate) use connection::{Connection, Handler, Http2Bounds, Times, drive_http2, serve_http};
pub(crate) use crowd::{Bounds, HeadCost};
pub(crate) use descriptors::{Share, raise_descriptors};
pub(crate) use original::original_destination;
pub(crate) use prefix::{Begins, Prefixed};
pub(crate) use stream::Stream;
pub(crate) use tunnel::{Joined, Standing, Tunnel, TunnelTimes, falls, join};
pub(crate) use turns::Turns;
