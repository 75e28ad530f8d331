//! How many files and connections this process may have open.
//!
//! Systems start programs with a soft limit of 1,024 for the sake of old ones that use `select`; the hard limit is what
//! the administrator means. Each delivery in flight, each idle connection to a receiver and each client of the API
//! needs a descriptor.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as it goes without privileges; returns what holds now, `None` if there is none.
pub fn raise_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.maximum,
        // macOS has a bound of its own below the hard limit that it reports.
        Err(_) => soft,
    }
}

/// `wanted` connections, or half of all descriptors if that is less: the store and the deliveries need the rest.
pub fn connections_within(limit: Option<u64>, wanted: usize) -> usize {
    let half = limit.map_or(usize::MAX, |limit| usize::try_from(limit / 2).unwrap_or(usize::MAX));
    if half < wanted {
        tracing::warn!(
            max_connections = half,
            ?limit,
            "fewer connections than configured: raise the limit on open files"
        );
    }
    wanted.min(half)
}

/// Whether this error says that there are none left for this process or the whole system.
pub fn are_out(error: &io::Error) -> bool {
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS];
    Errno::from_io_error(error).is_some_and(|errno| ours.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let low = rustix::process::Rlimit { current: Some(256), maximum: hard };
        setrlimit(Resource::Nofile, low).unwrap();
        assert_eq!(raise_limit(), hard);
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }

    #[test]
    fn clients_never_take_more_than_half() {
        assert_eq!(connections_within(Some(1_024), 1_024), 512);
        assert_eq!(connections_within(Some(65_536), 1_024), 1_024);
        assert_eq!(connections_within(None, 1_024), 1_024);
    }
}
