//! Consumers, the groups that they belong to, and the event types that groups may see.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use waxseal_envelope::EventType;
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, GroupName};

/// A party that receives.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// Its id: the audience of its tokens, unless an endpoint has its own.
    pub id: ConsumerId,
    /// Free text for people.
    pub description: Option<String>,
    /// The groups that it belongs to.
    pub groups: BTreeSet<GroupName>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A named set of consumers. Membership is kept with the consumers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// Free text for people.
    pub description: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// An event type that may be published, and who may see it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredType {
    /// The type's name, as publishers and subscriptions write it.
    pub name: EventType,
    /// Free text for people.
    pub description: Option<String>,
    /// Who may subscribe to it and receive it.
    pub visible_to: Visibility,
    /// When it was declared.
    pub created_at: Timestamp,
}

/// Who may see an event type.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Every consumer.
    All,
    /// The members of any of these groups; of none, if there are none.
    Groups(BTreeSet<GroupName>),
}

impl DeclaredType {
    /// Whether `consumer` may see this type now. Leaving a group ends it for deliveries to come.
    pub fn is_visible_to(&self, consumer: &Consumer) -> bool {
        match &self.visible_to {
            Visibility::All => true,
            Visibility::Groups(groups) => !groups.is_disjoint(&consumer.groups),
        }
    }
}
