//! One batch: many commands as a few statements, in one transaction.
//!
//! What needs no answer before the next statement is sent with it. Most batches leave as a whole, from the begin to the
//! commit, and cost one way to the server and back; with idempotency keys or changes of records they cost two or three.
//! Changes of records come last: only those of commands that were done.

use futures_util::future::{try_join, try_join3, try_join4};

use super::accept::{self, Arrivals};
use super::connect::Session;
use super::failure::Failure;
use super::routes::Routes;
use super::settle::{self, Ends};
use super::writer::{Answer, Command};
use super::{audit, catalog, withdrawn};
use crate::store::{Accepted, RecordChange, Settled};

/// Prepares what a batch needs, so that its statements leave in their order.
pub(super) async fn prepare(session: &Session) -> Result<(), Failure> {
    let own = [accept::REMEMBER, accept::INSERT, settle::SETTLE, withdrawn::NOTE];
    for sql in own.into_iter().chain([catalog::PUT_MANY, audit::APPEND_MANY]) {
        session.prepare(sql).await?;
    }
    Ok(())
}

/// Runs these commands, none of which meets another, and commits. On an error the transaction is still open.
pub(super) async fn run(
    session: &Session,
    routes: &Routes,
    commands: &[Command],
) -> Result<Vec<Answer>, Failure> {
    let mut events = Vec::new();
    let mut settlements = Vec::new();
    for command in commands {
        match command {
            Command::Accept(event, _) => events.push(&**event),
            Command::Settle(settlement, _) => settlements.push(&**settlement),
        }
    }
    let deliveries: Vec<_> = events.iter().flat_map(|event| &event.deliveries).collect();
    routes.know(session, &deliveries).await?;
    let keyed = events.iter().any(|event| event.idempotency.is_some());
    let ends = Ends::of(&settlements)?;
    let begin = session.batch("BEGIN");
    let record = async { if settlements.is_empty() { Ok(Vec::new()) } else { ends.write(session).await } };
    if !keyed && commands.iter().all(|command| changes(command).is_empty()) {
        let arrivals = Arrivals::of(events.iter().copied());
        let insert = async { if arrivals.is_empty() { Ok(()) } else { arrivals.write(session).await } };
        // They leave together. If one fails, all behind it do nothing: the commit undoes what was before.
        let (_, recorded, (), _) = try_join4(begin, record, insert, session.batch("COMMIT")).await?;
        return Ok(answers(commands, &vec![Accepted::New; events.len()], &recorded));
    }
    // The three leave together and are answered in their order.
    let (_, remembered, recorded) = try_join3(
        begin,
        async { if keyed { accept::remember(session, &events).await.map(Some) } else { Ok(None) } },
        record,
    )
    .await?;
    let accepted = match remembered {
        None => vec![Accepted::New; events.len()],
        Some(remembered) => accept::judge(session, &events, &remembered).await?,
    };
    let new = events.iter().zip(&accepted).filter(|(_, accepted)| **accepted == Accepted::New);
    let arrivals = Arrivals::of(new.map(|(event, _)| *event));
    let done = |command: &Command, answer: &Answer| match answer {
        Answer::Accepted(Accepted::New) | Answer::Settled(Settled::Recorded) => changes(command).to_vec(),
        Answer::Accepted(_) | Answer::Settled(_) => Vec::new(),
    };
    let answers = answers(commands, &accepted, &recorded);
    let changed: Vec<_> =
        commands.iter().zip(&answers).flat_map(|(command, answer)| done(command, answer)).collect();
    if !changed.is_empty() {
        catalog::change_many(session, &changed).await?;
    }
    let insert = async { if arrivals.is_empty() { Ok(()) } else { arrivals.write(session).await } };
    try_join(insert, session.batch("COMMIT")).await?;
    Ok(answers)
}

/// The records that are to change with it, if it is done.
fn changes(command: &Command) -> &[RecordChange] {
    match command {
        Command::Accept(event, _) => &event.changes,
        Command::Settle(settlement, _) => &settlement.changes,
    }
}

fn answers(commands: &[Command], accepted: &[Accepted], recorded: &[bool]) -> Vec<Answer> {
    let (mut accepted, mut recorded) = (accepted.iter(), recorded.iter());
    let settled = |recorded: &bool| if *recorded { Settled::Recorded } else { Settled::Stale };
    let answer = |command: &Command| match command {
        Command::Accept(..) => accepted.next().copied().map(Answer::Accepted),
        Command::Settle(..) => recorded.next().map(|recorded| Answer::Settled(settled(recorded))),
    };
    commands.iter().filter_map(answer).collect()
}
