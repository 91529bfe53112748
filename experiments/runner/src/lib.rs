//! The `crossover` command: it finds experiments, plans them, runs them through worker processes, and records what they did.
//!
//! In the order of the straight line: [`definition`] reads an experiment file, [`plan`] turns it into cells (which [`filter`] may
//! thin out), [`schedule`] measures the cells through [`mod@worker`] processes with the help of [`statistics`], and [`outcome`]
//! makes records of what it found, while [`progress`] shows how far it is. [`criterion`] makes records of what `cargo bench` left. [`cli`] and [`commands`] are the command line around it;
//! [`paths`] knows where things lie, [`errors`] who is to blame.

pub mod cli;
pub mod commands;
pub mod criterion;
pub mod definition;
pub mod errors;
mod excerpt;
pub mod filter;
pub mod gate;
pub mod outcome;
pub mod paths;
pub mod plan;
pub mod progress;
pub mod schedule;
pub mod series;
pub mod statistics;
pub mod worker;
