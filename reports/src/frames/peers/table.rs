//! The table that is written: `peers.csv`.

use polars::prelude::*;

use super::{Entry, Peers, Row, Speed};
use crate::columns::{RUN, axis_columns};
use crate::frames::taken;

/// One line for every engine of every row: the table that is written.
pub(crate) fn table(peers: &Peers, frame: &DataFrame) -> PolarsResult<DataFrame> {
    const COLUMNS: [&str; 17] = [
        RUN,
        "machine",
        "family",
        "group",
        "id",
        "engine",
        "variant",
        "status",
        "reason",
        "median_ns",
        "ci_low_ns",
        "ci_high_ns",
        "samples",
        "threads_used",
        "isa",
        "flops",
        "share",
    ];
    let axes = axis_columns(frame.schema());
    let columns: Vec<&str> = COLUMNS.into_iter().chain(axes.iter().map(String::as_str)).collect();
    let lines: Vec<(&Row, &Entry)> = peers.rows.iter().flat_map(|row| row.entries.iter().map(move |entry| (row, entry))).collect();
    let speeds = |of: fn(Speed) -> Option<f64>| lines.iter().map(|(_, entry)| entry.speed.and_then(of)).collect::<Vec<_>>();
    let rival = |of: fn(&Entry) -> &str| lines.iter().map(|(row, _)| row.rival().map(of)).collect::<Vec<_>>();
    let more = df!(
        "op" => lines.iter().map(|(row, _)| row.op.as_str()).collect::<Vec<_>>(),
        "is_peer" => lines.iter().map(|(_, entry)| entry.is_peer).collect::<Vec<_>>(),
        "fastest_peer" => rival(|entry| &entry.engine),
        "fastest_peer_status" => rival(|entry| &entry.status),
        "speed" => speeds(|speed| Some(speed.ratio)),
        "speed_low" => speeds(|speed| speed.ends.map(|ends| ends.0)),
        "speed_high" => speeds(|speed| speed.ends.map(|ends| ends.1)),
        "apart" => lines.iter().map(|(_, entry)| entry.speed.map(|speed| speed.apart)).collect::<Vec<_>>(),
        "verdict" => lines.iter().map(|(row, entry)| verdict(row, entry)).collect::<Vec<_>>(),
    )?;
    let at: Vec<usize> = lines.iter().map(|(_, entry)| entry.at).collect();
    taken(frame, &at, &columns, more, &["machine", "op"])
}

/// The fastest peer has none on itself.
fn verdict(row: &Row, entry: &Entry) -> Option<&'static str> {
    let is_rival = row.rival().is_some_and(|rival| rival.at == entry.at);
    entry.speed.filter(|_| !is_rival).map(|speed| speed.verdict.name())
}
