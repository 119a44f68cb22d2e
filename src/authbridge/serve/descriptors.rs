//! Limit on open files (`RLIMIT_NOFILE`): one connection that is passed on needs two descriptors, and the usual soft limit of
//! 1024 is there for programs that use `select`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one; what the limit is then, `None` for no limit.
pub(crate) fn raise_descriptors() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!("the limit on open files was not raised: {error}");
            current
        }
    }
}
