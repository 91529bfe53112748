//! Why a definition cannot be planned.

use crossover_variants::resolve::AxisError;

/// What is wrong, where, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// An engine that no worker has.
    #[error("{place}: unknown engine {name:?}\n  {help}")]
    UnknownEngine {
        /// Where it was named.
        place: String,
        /// The name.
        name: String,
        /// What to write instead.
        help: String,
    },
    /// An engine of ours that the definition gives another worker.
    #[error("{place}: {name:?} is given a worker here, and is an engine of crossover-worker already: choose another name")]
    EngineTwice {
        /// Where it was named.
        place: String,
        /// The name.
        name: String,
    },
    /// `--set` of an axis that no variant of the experiment has.
    #[error("--set {axis}: no variant of experiment {experiment:?} has this axis\n  {help}")]
    UnknownAxis {
        /// The axis.
        axis: String,
        /// The experiment.
        experiment: String,
        /// What to write instead.
        help: String,
    },
    /// An axis set twice on the command line.
    #[error("{axis} is set twice on the command line: write --set {axis}=v1,v2 once (--threads N is --set threads=N)")]
    SetTwice {
        /// The axis.
        axis: String,
    },
    /// Two spellings of one value.
    #[error("{place}: {axis} has the value {value} twice: remove one of them")]
    DuplicateValue {
        /// Where the values were given.
        place: String,
        /// The axis.
        axis: String,
        /// The value, as cells spell it.
        value: String,
    },
    /// Axes that go together, and belong to different things.
    #[error(
        "{place}: {size} and {parameter} cannot take their values together: of {variant} one is a size and the other a parameter\n  \
         let them vary apart, or write the parameter as a share of a size: {parameter} = \"frac(1/4)\""
    )]
    MixedTogether {
        /// Where they were set.
        place: String,
        /// The variant.
        variant: &'static str,
        /// One of its parameters among them.
        parameter: String,
        /// One of its sizes among them.
        size: String,
    },
    /// A cell whose axes do not resolve.
    #[error(
        "{place}: experiment {experiment:?} has a cell that cannot be\n  {source}\n  change the values, or leave the cell out by --filter"
    )]
    BadCell {
        /// Where the value, or the sweep, was given.
        place: String,
        /// The experiment.
        experiment: String,
        /// What does not fit.
        source: Box<AxisError>,
    },
    /// Variants to be matched, and no baseline that solves their problem.
    #[error(
        "{place}: {variant} has no baseline here whose cost it could have: its task is {task}\n  \
         add a baseline of that task with the same problem axes, or move the variant to a sweep without match"
    )]
    NoBaseline {
        /// Where it was asked for.
        place: String,
        /// The variant.
        variant: &'static str,
        /// What it computes.
        task: &'static str,
    },
    /// A baseline that is chosen by values which no cell has.
    #[error("{place}: no cell of the baseline is as baseline_when says\n  write values that the sweep's axes have, as cells spell them")]
    NowhereBaseline {
        /// The sweep.
        place: String,
    },
    /// A baseline that is chosen by values which several cells of a group have.
    #[error(
        "{place}: baseline_when holds for more than one cell of a group on engine {engine}, for that with {axes} too\n  \
         say what sets one of them apart: it is what the others are compared with"
    )]
    SeveralBaselines {
        /// The sweep.
        place: String,
        /// The engine.
        engine: String,
        /// What the second one was given of its own.
        axes: String,
    },
    /// Two sweeps that choose different baselines of the same group.
    #[error(
        "{place}: baseline_when holds on engine {engine} for a cell with {axes}, in a group whose baseline is another cell: that of {other}\n  \
         let both sweeps mean the same cell, or put what is to be compared into one of them"
    )]
    BaselineElsewhere {
        /// The later sweep.
        place: String,
        /// The engine.
        engine: String,
        /// What its baseline was given of its own.
        axes: String,
        /// The earlier sweep.
        other: String,
    },
    /// A baseline that costs nothing of what shall be equal.
    #[error("{place}: the baseline {baseline} has no {mode} of which the others could have a share\n  {help}")]
    NothingToMatch {
        /// Where it was asked for.
        place: String,
        /// The baseline.
        baseline: &'static str,
        /// What was to be equal.
        mode: &'static str,
        /// What to write instead.
        help: &'static str,
    },
    /// More cells than could ever be run.
    #[error(
        "experiment {experiment:?} spans {candidates} cells before any filter; more than {most} are not taken: shorten the lists, or split it"
    )]
    TooLarge {
        /// The experiment.
        experiment: String,
        /// How many there would be.
        candidates: u128,
        /// How many are taken.
        most: u128,
    },
}
