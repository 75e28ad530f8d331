//! `/v1/audit`: who changed what. It concerns all consumers and names who runs the sender, so no bound token sees it.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::auth::{Allowed, ToAudit};
use super::problem::Problem;
use super::request::Query;
use super::search::moment;
use super::{Api, show};
use crate::audit::AuditEntry;
use crate::id::{AuditId, ConsumerId};
use crate::store::AuditFilter;

/// Newest first. Every parameter narrows. A page may be short, or empty, and still name a next one.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Allowed<ToAudit>,
    mut query: Query,
) -> Result<Json<Value>, Problem> {
    caller.unbound()?;
    let limit = query.limit();
    let cursor = query.optional("after", AuditId::parse);
    let until = query.optional("until", moment).map(AuditId::lower_bound);
    let filter = AuditFilter {
        consumer: query.optional("consumer", ConsumerId::parse),
        object: query.optional("object", word),
        actor: query.optional("actor", word),
        action: query.optional("action", word),
        after: query.optional("since", moment).map(AuditId::lower_bound),
        before: cursor.into_iter().chain(until).min(),
        // One more than is shown tells whether there is another page.
        limit: u32::try_from(limit + 1).unwrap_or(u32::MAX),
    };
    query.finish()?;
    let mut page = api.store.audit(filter).await?;
    let cut = show::cut(&mut page.rows, limit, |row| row.id);
    let next = cut.or_else(|| page.reached.map(|id| id.to_string()));
    let recorder = api.directory.recorder();
    let entries = page.rows.into_iter().map(|row| shown(&recorder.read(row)));
    Ok(Json(show::page(entries.collect(), next)))
}

fn shown(entry: &AuditEntry) -> Value {
    let mut shown = json!({
        "id": entry.id,
        "at": show::moment(entry.at()),
        "actor": entry.actor,
        "action": entry.action,
        "object": entry.object,
        "consumer": entry.consumer,
        "erased": entry.details.is_none(),
    });
    if let Some(details) = &entry.details {
        shown["actor_label"] = json!(details.label);
        shown["request"] = json!(details.request);
        shown["changed"] = json!(details.changed);
    }
    shown
}

/// As the trail has it; what does not occur in it finds nothing.
fn word(text: &str) -> Result<String, String> {
    match text.len() {
        1..=MAX_WORD => Ok(text.to_owned()),
        _ => Err(format!("expected 1 to {MAX_WORD} characters")),
    }
}

/// The longest name of anything that is recorded is that of an event type.
const MAX_WORD: usize = 512;
