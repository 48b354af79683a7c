//! Rows as jobs and events.
//!
//! Knows columns; knows no statements.

use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use sqlx::{Row, sqlite::SqliteRow};

use super::Target;
use crate::jobs::{
    error::Error,
    event::{Event, Mark, StoredEvent, WrittenEvent},
    job::{Claim, Job, Spec, Summary, Written},
    state::State,
    time::Timestamp,
};

/// SQLite's integers are signed.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub fn job(row: &SqliteRow) -> Result<Job, Error> {
    let time = |column| Ok::<_, Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp));
    Ok(Job {
        id: row.try_get("id")?,
        state: state(row)?,
        spec: Spec {
            kind: row.try_get("kind")?,
            subject: json(row, "subject")?,
            plan: json(row, "plan")?,
            warnings: json(row, "warnings")?,
        },
        attempts: row.try_get("attempts")?,
        cancel_requested: row.try_get("cancel_requested")?,
        progress: optional(row, "progress")?,
        result: optional(row, "result")?,
        error: optional(row, "error")?,
        created: Timestamp(row.try_get("created")?),
        started: time("started")?,
        finished: time("finished")?,
        claim: claim(row)?,
    })
}

pub fn summary(row: &SqliteRow) -> Result<Summary, Error> {
    let time = |column| Ok::<_, Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp));
    Ok(Summary {
        id: row.try_get("id")?,
        state: state(row)?,
        kind: row.try_get("kind")?,
        subject: json(row, "subject")?,
        cancel_requested: row.try_get("cancel_requested")?,
        progress: optional(row, "progress")?,
        error: optional(row, "error")?,
        created: Timestamp(row.try_get("created")?),
        started: time("started")?,
        finished: time("finished")?,
        claim: claim(row)?,
    })
}

/// Who has the job and until when, while somebody has it.
pub fn claim(row: &SqliteRow) -> Result<Option<Claim>, Error> {
    let owner: Option<String> = row.try_get("lease_owner")?;
    owner.map(|owner| Ok(Claim { owner, expires: Timestamp(row.try_get("lease_until")?) })).transpose()
}

/// How many events the job has.
pub fn events(row: &SqliteRow) -> Result<u64, Error> {
    Ok(unsigned(row.try_get("events")?))
}

pub fn event(row: &SqliteRow) -> Result<StoredEvent, Error> {
    let event = Event { kind: row.try_get("kind")?, mark: mark(row)?, data: json(row, "data")? };
    Ok(StoredEvent { id: unsigned(row.try_get("id")?), event, at: Timestamp(row.try_get("at")?) })
}

/// An event whose values are as they are written.
pub fn written_event(row: &SqliteRow) -> Result<WrittenEvent, Error> {
    let (id, at) = (unsigned(row.try_get("id")?), Timestamp(row.try_get("at")?));
    Ok(WrittenEvent { id, kind: row.try_get("kind")?, document: written(row)?, at })
}

/// What an event says as one object, as [`Event::document`] has it.
pub fn written(row: &SqliteRow) -> Result<Written, Error> {
    let mut document: Written = json(row, "data")?;
    if let Some(mark) = mark(row)? {
        let raw = |value: Value| RawValue::from_string(value.to_string()).expect("a number is JSON");
        let places = [("phase", mark.phase.into()), ("epoch", mark.epoch.into()), ("step", mark.step.into())];
        for (name, place) in places {
            document.entry(name.to_owned()).or_insert_with(|| raw(place));
        }
    }
    Ok(document)
}

pub fn mark(row: &SqliteRow) -> Result<Option<Mark>, Error> {
    Ok(match (row.try_get("phase")?, row.try_get("epoch")?, row.try_get::<Option<i64>, _>("step")?) {
        (Some(phase), Some(epoch), Some(step)) => Some(Mark { phase, epoch, step: unsigned(step) }),
        _ => None,
    })
}

pub fn target(row: &SqliteRow) -> Result<Target, Error> {
    Ok(Target { seq: row.try_get("seq")?, state: state(row)? })
}

fn state(row: &SqliteRow) -> Result<State, Error> {
    let name: &str = row.try_get("state")?;
    State::from_name(name).ok_or(Error::Damaged { column: "state", source: None })
}

pub fn json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, Error> {
    parse(row.try_get(column)?, column)
}

pub fn optional<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, Error> {
    row.try_get::<Option<&str>, _>(column)?.map(|text| parse(text, column)).transpose()
}

fn parse<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Damaged { column, source: Some(source) })
}

pub fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
