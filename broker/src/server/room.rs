//! How many clients there are descriptors for: the store and the log need theirs, whoever comes.

use rustix::process::{Resource, getrlimit};

/// What everything but sessions may need at a time: files of the store, connections of the monitor, clients that are told
/// why they are refused, and the listeners. A store that cannot open its next file stops taking messages.
const RESERVED: u64 = 256;

/// Sessions at a time, whatever is configured.
pub(super) fn for_sessions() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |all| usize::try_from(left(all)).unwrap_or(usize::MAX))
}

fn left(all: u64) -> u64 {
    all - RESERVED.min(all / 2)
}

#[cfg(test)]
mod tests {
    use super::left;

    #[test]
    fn a_small_limit_is_shared_by_halves() {
        assert_eq!((left(0), left(100), left(512), left(1024)), (0, 50, 256, 768));
    }
}
