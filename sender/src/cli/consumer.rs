//! `waxseal consumer`, `waxseal group`, `waxseal event-type`: who receives, and what they may see.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::Remote;
use super::error::CliError;
use super::keys::KeySetCommand;
use super::page::Page;

/// Consumers: the parties that receive
#[derive(Debug, Subcommand)]
pub enum ConsumerCommand {
    /// Create a consumer
    #[command(after_help = "Example:\n  waxseal consumer create acme --group partners")]
    Create {
        /// Its id, which is signed into its tokens; made up if left out
        id: Option<String>,
        /// Free text for people
        #[arg(long)]
        description: Option<String>,
        /// A group that it belongs to; may be given several times
        #[arg(long = "group")]
        groups: Vec<String>,
    },
    /// List consumers
    List(Page),
    /// Show one
    Show {
        /// Its id
        id: String,
    },
    /// Change its description or groups
    Update {
        /// Its id
        id: String,
        /// Free text for people
        #[arg(long)]
        description: Option<String>,
        /// All of its groups from now on; may be given several times
        #[arg(long = "group")]
        groups: Option<Vec<String>>,
    },
    /// Remove it with its endpoints and keys; destroys what was stored for it
    Delete {
        /// Its id
        id: String,
    },
    /// The public keys that content is sealed to
    Keys {
        /// The consumer's id
        consumer: String,
        /// What to do with them
        #[command(subcommand)]
        command: KeySetCommand,
    },
}

/// Groups of consumers
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Create a group
    Create {
        /// Its name
        name: String,
        /// Free text for people
        #[arg(long)]
        description: Option<String>,
    },
    /// List groups
    List,
    /// Remove a group; its members stay
    Delete {
        /// Its name
        name: String,
    },
    /// Put a consumer into a group
    Add {
        /// The group's name
        name: String,
        /// The consumer's id
        consumer: String,
    },
    /// Take a consumer out of a group; it gets no new deliveries through it
    Remove {
        /// The group's name
        name: String,
        /// The consumer's id
        consumer: String,
    },
}

/// Event types that may be published, and who may see them
#[derive(Debug, Subcommand)]
pub enum EventTypeCommand {
    /// Declare an event type
    #[command(after_help = "Example:\n  waxseal event-type create order.created --group partners")]
    Create {
        /// Its name, such as `order.created`
        name: String,
        /// Free text for people
        #[arg(long)]
        description: Option<String>,
        /// A group that may see it; may be given several times; without any, every consumer may
        #[arg(long = "group")]
        groups: Vec<String>,
    },
    /// List declared event types
    List,
    /// Withdraw an event type
    Delete {
        /// Its name
        name: String,
    },
}

impl ConsumerCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        match self {
            Self::Create { id, description, groups } => {
                let mut body = json!({ "groups": groups });
                set(&mut body, "id", id);
                set(&mut body, "description", description);
                output.item(&api.post(&["consumers"], Some(body)).await?)
            }
            Self::List(page) => {
                output.list(&api.get(&["consumers"], &page.query()).await?, &["id", "groups", "description"])
            }
            Self::Show { id } => output.item(&api.get(&["consumers", &id], &[]).await?),
            Self::Update { id, description, groups } => {
                let mut body = Value::Object(Map::new());
                set(&mut body, "description", description);
                set(&mut body, "groups", groups);
                output.item(&api.patch(&["consumers", &id], body).await?)
            }
            Self::Delete { id } => output.item(&api.delete(&["consumers", &id]).await?),
            Self::Keys { consumer, command } => command.run(remote, &["consumers", &consumer]).await,
        }
    }
}

impl GroupCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        match self {
            Self::Create { name, description } => {
                let mut body = json!({ "name": name });
                set(&mut body, "description", description);
                output.item(&api.post(&["groups"], Some(body)).await?)
            }
            Self::List => output.list(&api.get(&["groups"], &[]).await?, &["name", "description"]),
            Self::Delete { name } => output.item(&api.delete(&["groups", &name]).await?),
            Self::Add { name, consumer } => {
                output.item(&api.put(&["groups", &name, "members", &consumer], None).await?)
            }
            Self::Remove { name, consumer } => {
                output.item(&api.delete(&["groups", &name, "members", &consumer]).await?)
            }
        }
    }
}

impl EventTypeCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        match self {
            Self::Create { name, description, groups } => {
                let mut body = json!({ "name": name });
                set(&mut body, "description", description);
                if !groups.is_empty() {
                    set(&mut body, "groups", Some(groups));
                }
                output.item(&api.post(&["event-types"], Some(body)).await?)
            }
            Self::List => {
                output.list(&api.get(&["event-types"], &[]).await?, &["name", "groups", "description"])
            }
            Self::Delete { name } => output.item(&api.delete(&["event-types", &name]).await?),
        }
    }
}

/// Sets a member if there is a value for it: what is left out of a request stays as it is.
pub fn set<T: Into<Value>>(body: &mut Value, name: &str, value: Option<T>) {
    if let Some(value) = value {
        body[name] = value.into();
    }
}
