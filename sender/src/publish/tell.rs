//! Publishes what the operator is told: to the operator's own endpoints, under the id that it has already.

use std::sync::Arc;

use waxseal_envelope::Data;

use super::{PublishError, Publisher};
use crate::model::endpoint::Endpoint;
use crate::model::event::PublishedEvent;
use crate::model::notice::Notice;
use crate::store::Accepted;

impl Publisher {
    /// Publishes a notice to these endpoints, unless it was published before. `false`: nobody is left to receive it.
    /// To be called by one task only.
    ///
    /// # Errors
    /// If the store fails; nothing was kept, or it is found the next time.
    pub(crate) async fn tell(
        &self,
        notice: &Notice,
        endpoints: Vec<Arc<Endpoint>>,
    ) -> Result<bool, PublishError> {
        // A process that was killed between this and forgetting the notice has published it.
        if self.store.event(notice.event).await?.is_some() {
            return Ok(true);
        }
        let event = PublishedEvent {
            id: notice.event,
            event_type: notice.event_type.clone(),
            occurred_at: Some(notice.occurred_at),
            txn: None,
            data: Data::json(notice.data.to_string().as_bytes()).expect("a notice is a small JSON object"),
            redelivery_of: None,
        };
        let fan_out = self.fan_out(event, endpoints, None, self.clock.now());
        if fan_out.deliveries().is_empty() {
            return Ok(false);
        }
        let kept = self.keep(fan_out).await?;
        Ok(kept == Accepted::New)
    }
}
