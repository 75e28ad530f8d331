//! Who acts: known to the task that acts.

use std::sync::{Arc, OnceLock};

use crate::id::TokenId;

/// Who makes a change.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Actor {
    /// The bearer of an API token.
    Token {
        /// The token's id, never the token.
        id: TokenId,
        /// What people call it.
        label: Option<String>,
    },
    /// The sender by itself.
    Engine,
    /// A program on the sender's machine that works on its files, as `waxseal init` does.
    Cli,
    /// A program that embeds the sender, by a name of its choice.
    Program(&'static str),
}

#[derive(Clone, Debug)]
struct Origin {
    /// Known once the request's token was looked up.
    actor: Arc<OnceLock<Actor>>,
    request: Option<String>,
}

tokio::task_local! {
    static ORIGIN: Origin;
}

/// Does `work` in the name of `actor`: changes of the [`Directory`](crate::directory::Directory) within it are put down to
/// it. What it spawns is the engine's.
pub async fn acting<T>(actor: Actor, work: impl Future<Output = T>) -> T {
    ORIGIN.scope(Origin { actor: Arc::new(OnceLock::from(actor)), request: None }, work).await
}

/// Does `work` in the name of whoever [`identify`] will say.
pub(crate) async fn of_request<T>(request: Option<String>, work: impl Future<Output = T>) -> T {
    ORIGIN.scope(Origin { actor: Arc::default(), request }, work).await
}

/// Says who it is whose request is carried out. Outside of one that is of no consequence.
pub(crate) fn identify(actor: impl FnOnce() -> Actor) {
    // The first to be said is the one: a request has one token.
    let _ = ORIGIN.try_with(|origin| origin.actor.set(actor()));
}

/// Who acts now, what people call them, and in which request.
pub(super) fn present() -> (String, Option<String>, Option<String>) {
    let origin = ORIGIN.try_with(Clone::clone).ok();
    let request = origin.as_ref().and_then(|origin| origin.request.clone());
    match origin.as_ref().and_then(|origin| origin.actor.get()) {
        Some(Actor::Token { id, label }) => (id.to_string(), label.clone(), request),
        Some(Actor::Cli) => ("cli".to_owned(), None, request),
        Some(Actor::Program(name)) => ((*name).to_owned(), None, request),
        Some(Actor::Engine) | None => ("engine".to_owned(), None, request),
    }
}
