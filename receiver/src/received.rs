//! [`Received`]: an event with its data as the handler's own type.
//!
//! Relies on serde. Guarantees that data which does not fit is a [`Reject`], never a default.

use serde::de::{DeserializeOwned, value::BytesDeserializer};
use waxseal_envelope::{Data, Event};

use crate::Reject;

/// An event, and its data as `T`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received<T> {
    /// The event: who, what, when, under which id.
    pub event: Event,
    /// What it says.
    pub data: T,
}

impl<T: DeserializeOwned> Received<T> {
    /// Reads the event's data as `T`. JSON goes to any type with `Deserialize`; binary data goes to types that
    /// deserialize from bytes. [`serde::de::IgnoredAny`] takes both, for handlers that look at `event.data`.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # fn main() {
    /// use waxseal_receiver::{Received, Reject};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     order: String,
    /// }
    ///
    /// # let event = event("https://hooks.example.com", "acme", "evt_1", r#"{"order":"991"}"#);
    /// let received: Received<Order> = Received::new(event.clone()).unwrap();
    /// assert_eq!(received.data.order, "991");
    /// assert!(matches!(Received::<u64>::new(event), Err(Reject::Data { .. })));
    /// # }
    /// ```
    pub fn new(event: Event) -> Result<Self, Reject> {
        let data = match &event.data {
            Data::Json(json) => serde_json::from_str(json.get()),
            Data::Binary { bytes, .. } => T::deserialize(BytesDeserializer::new(bytes)),
        };
        match data {
            Ok(data) => Ok(Self { event, data }),
            Err(misfit) => Err(Reject::Data {
                event_type: event.event_type,
                line: misfit.line(),
                column: misfit.column(),
            }),
        }
    }
}
