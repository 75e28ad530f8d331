//! Paging through a list.

use clap::Args;

/// Which page of a list to show.
#[derive(Args, Debug)]
pub struct Page {
    /// At most so many
    #[arg(long)]
    limit: Option<u32>,
    /// After this one: what the page before ended with
    #[arg(long)]
    after: Option<String>,
}

impl Page {
    /// As query parameters.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        let after = self.after.clone().map(|after| ("after", after));
        limit.into_iter().chain(after).collect()
    }
}
