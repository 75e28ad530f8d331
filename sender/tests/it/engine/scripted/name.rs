//! Name servers under the tests' control, hostile ones among them.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use waxseal_sender::engine::egress::{LookupFuture, Resolver};

/// Which names were asked for, in order.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    /// A resolver that notes what it is asked for.
    pub(crate) fn resolver(&self) -> Arc<Resolver> {
        let asked = self.clone();
        Arc::new(move |name: String| -> LookupFuture {
            let answer = answer(&name, asked.times(&name));
            asked.0.lock().unwrap().push(name);
            Box::pin(async move {
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            })
        })
    }

    /// How often this name was asked for.
    pub(crate) fn times(&self, name: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

/// What a name server says that has been asked so often before; `None`: nothing, ever.
fn answer(name: &str, before: usize) -> Option<io::Result<Vec<IpAddr>>> {
    let ours = IpAddr::from([127, 0, 0, 1]);
    Some(Ok(match (name, before) {
        ("scripted.example", _) => vec![ours],
        ("rebinding.example", 1) => vec![FORBIDDEN],
        ("rebinding.example", _) => vec![ours],
        ("mixed.example", _) => vec![FORBIDDEN, ours, IpAddr::from([169, 254, 169, 254])],
        ("private.example", _) => vec![FORBIDDEN],
        ("public.example", _) => vec![IpAddr::from([8, 8, 8, 8])],
        ("metadata.example", _) => vec![IpAddr::from([169, 254, 169, 254])],
        ("empty.example", _) => Vec::new(),
        ("silent.example", _) => return None,
        _ => return Some(Err(io::ErrorKind::NotFound.into())),
    }))
}

/// An address of this machine outside of the range that the tests allow.
pub(crate) const FORBIDDEN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
