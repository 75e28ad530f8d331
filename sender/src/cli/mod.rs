//! The program `waxseal`.
//!
//! `init`, `serve`, `config`, `backup`, `restore` and `keys rewrap` work on this machine's files; `open`, `listen` and
//! `keys generate` need no sender; everything else speaks
//! HTTP to a running one, with `WAXSEAL_URL` and `WAXSEAL_TOKEN`, and never touches its database. `relay` reads another
//! service's.

pub mod audit;
pub mod backup;
pub mod client;
pub mod cluster;
pub mod completions;
pub mod config;
pub mod consumer;
mod damage;
pub mod deliveries;
pub mod dev;
pub mod endpoint;
pub mod endpoint_auth;
pub mod error;
pub mod files;
pub mod import;
pub mod init;
pub mod kek;
pub mod keys;
pub mod listen;
pub mod migrate;
pub mod moving;
pub mod open;
mod opened;
pub mod outbox;
pub mod output;
pub mod pace;
pub mod page;
pub mod publish;
pub mod recover;
pub mod relay;
pub mod restore;
pub mod retry;
pub mod rewrap;
pub mod serve;
pub mod stored;
mod test;
pub mod trust;
mod verify;

use clap::{Parser, Subcommand};

use self::audit::AuditArgs;
use self::backup::BackupArgs;
use self::client::Remote;
use self::cluster::ClusterArgs;
use self::completions::CompletionsArgs;
use self::config::ConfigCommand;
use self::consumer::{ConsumerCommand, EventTypeCommand, GroupCommand};
use self::deliveries::{DeliveriesCommand, TokenCommand};
use self::dev::DevArgs;
use self::endpoint::EndpointCommand;
use self::error::CliError;
use self::init::InitArgs;
use self::keys::KeysCommand;
use self::listen::ListenArgs;
use self::migrate::MigrateArgs;
use self::moving::MoveArgs;
use self::open::OpenArgs;
use self::outbox::OutboxCommand;
use self::publish::PublishArgs;
use self::recover::RecoveryCommand;
use self::relay::RelayArgs;
use self::restore::RestoreArgs;
use self::serve::ServeArgs;

/// Webhooks that are signed for one consumer, and sealed so that only it can read them
#[derive(Debug, Parser)]
#[command(
    name = "waxseal",
    version,
    propagate_version = true,
    after_help = "Examples:\n  waxseal dev                    see it work, with nothing set up\n  waxseal init --issuer https://hooks.example.com\n  waxseal serve\n\nEvery option can be set in the environment as WAXSEAL_*; `waxseal COMMAND --help` says how."
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
enum Command {
    /// Write a configuration and a key-encryption key, and print an admin token
    Init(InitArgs),
    /// Serve the API and the JWKS, and deliver
    Serve(ServeArgs),
    /// Create the store's tables, or bring older ones up to date
    Migrate(MigrateArgs),
    /// Move the store of one machine into a PostgreSQL database; the sender must not run
    Move(MoveArgs),
    /// Copy the store to a new file, while the sender runs or not
    Backup(BackupArgs),
    /// Put a backup in the place of the store; the sender must not run
    Restore(RestoreArgs),
    /// Show it working on this machine: a sender, a consumer, a rotation of keys
    Dev(DevArgs),
    /// Publish one event
    Publish {
        #[command(flatten)]
        args: PublishArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// Consumers: the parties that receive
    Consumer {
        #[command(subcommand)]
        command: ConsumerCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// Groups of consumers
    Group {
        #[command(subcommand)]
        command: GroupCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// Event types that may be published, and who may see them
    EventType {
        #[command(subcommand)]
        command: EventTypeCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// Endpoints: where consumers receive
    Endpoint {
        #[command(subcommand)]
        command: EndpointCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// Recoveries: what endpoints missed, delivered again bit by bit
    Recovery {
        #[command(subcommand)]
        command: RecoveryCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// Signing keys of the sender; new decryption keys for a consumer
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// API tokens: who may call the API
    Token {
        #[command(subcommand)]
        command: TokenCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// Deliveries: what became of events
    Deliveries {
        #[command(subcommand)]
        command: DeliveriesCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// The audit trail: who changed what, newest first
    Audit {
        #[command(flatten)]
        args: AuditArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// The nodes that share the store, and what each works on
    Cluster {
        #[command(flatten)]
        args: ClusterArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// Decrypt, verify and explain tokens
    Open(OpenArgs),
    /// Receive events here: print them, and hand them on to a local program
    Listen(ListenArgs),
    /// The transactional outbox: what to install in your own database
    Outbox {
        #[command(subcommand)]
        command: OutboxCommand,
    },
    /// Carry what was committed in an outbox to the sender
    Relay {
        #[command(flatten)]
        args: RelayArgs,
        #[command(flatten)]
        remote: Remote,
    },
    /// The configuration of this machine's sender
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the completions for a shell
    Completions(CompletionsArgs),
}

impl Cli {
    /// Carries the command out.
    ///
    /// # Errors
    /// If it cannot: in one message for people, with an exit status.
    pub async fn run(self) -> Result<(), CliError> {
        match self.command {
            Command::Init(args) => args.run().await,
            Command::Serve(args) => args.run().await,
            Command::Migrate(args) => args.run().await,
            Command::Move(args) => args.run().await,
            Command::Backup(args) => args.run().await,
            Command::Restore(args) => args.run().await,
            Command::Dev(args) => args.run().await,
            Command::Publish { args, remote } => args.run(&remote).await,
            Command::Consumer { command, remote } => command.run(&remote).await,
            Command::Group { command, remote } => command.run(&remote).await,
            Command::EventType { command, remote } => command.run(&remote).await,
            Command::Endpoint { command, remote } => command.run(&remote).await,
            Command::Recovery { command, remote } => command.run(&remote).await,
            Command::Keys { command, remote } => command.run(&remote).await,
            Command::Token { command, remote } => command.run(&remote).await,
            Command::Deliveries { command, remote } => command.run(&remote).await,
            Command::Audit { args, remote } => args.run(&remote).await,
            Command::Cluster { args, remote } => args.run(&remote).await,
            Command::Open(args) => args.run().await,
            Command::Listen(args) => args.run().await,
            Command::Outbox { command } => command.run(),
            Command::Relay { args, remote } => args.run(&remote).await,
            Command::Config { command } => command.run().await,
            Command::Completions(args) => args.run(),
        }
    }
}
