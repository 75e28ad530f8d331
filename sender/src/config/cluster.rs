//! `[cluster]`: what this node is among several that share a store.

use std::fs;

use serde::{Deserialize, Deserializer};

use crate::store::NodeRole;

/// What this node is among several that share a store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// `all`, `api` or `engine`.
    #[serde(deserialize_with = "role")]
    pub role: NodeRole,
    /// What people call it; the name of the machine, if this is not said.
    pub node_name: Option<String>,
}

impl ClusterConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.node_name {
            Some(name) => check_node_name(name).map_err(|expected| format!("cluster.node_name: {expected}")),
            None => Ok(()),
        }
    }

    /// What people call this node.
    pub fn node_name(&self) -> String {
        self.node_name.clone().or_else(machine).unwrap_or_else(|| "unnamed".to_owned())
    }
}

/// Whether a text can be the name of a node.
///
/// # Errors
/// What was expected.
pub fn check_node_name(name: &str) -> Result<(), &'static str> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic());
    fits.then_some(()).ok_or("expected 1 to 64 printable ASCII characters without spaces")
}

/// Reads the name of a role.
///
/// # Errors
/// What was expected.
pub fn parse_role(name: &str) -> Result<NodeRole, String> {
    NodeRole::from_name(name).ok_or_else(|| format!("`{name}` is no role; expected `all`, `api` or `engine`"))
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeRole, D::Error> {
    parse_role(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn machine() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    check_node_name(name).ok().map(|()| name.to_owned())
}

const MAX_NAME: usize = 64;
