//! What a variant says about itself: its axes with ranges and defaults, its tensors with their shapes, its idea and source.
//!
//! One description serves four readers: the plan (which axes may be swept, and which values make sense), `list variants`, `apply`
//! (which infers the axes from the tensors that it is given), and the worker (which draws the tensors).

use std::borrow::Cow;

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::isa::IsaChoice;
use crossover_core::ops::WeightForm;
use serde::{Serialize, Serializer};

use crate::resolve::shape_of;

/// A variant's description.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// `family/kebab-name`.
    pub name: &'static str,
    /// One line: what it computes.
    pub summary: &'static str,
    /// Paper and section, or the textbook name of the idea.
    pub citation: &'static str,
    /// The exact function that it computes or approximates, as `family` or `family/which`. Only variants of one task are compared.
    pub task: &'static str,
    /// Sizes of the problem.
    pub problem: &'static [AxisSpec],
    /// The variant's own parameters.
    pub parameters: &'static [AxisSpec],
    /// Inputs and weights, by the names that `apply` uses.
    pub tensors: &'static [TensorSpec],
    /// What is made of them on the host before the engine sees anything: factors, masks, codes. A name of `tensors` replaces that one.
    pub derived: &'static [DerivedSpec],
    /// Shape of the output, `out`.
    pub output: &'static [Dim],
    /// Conditions between axes, in words for people; see [`Condition`].
    pub conditions: &'static [Condition],
    /// What a call costs, in closed form.
    pub model: Model,
}

/// A variant's cost in closed form: formulas over its axes (see [`crate::formula`]), checked against the metered operations.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Model {
    /// Operations of one call.
    pub flops: &'static str,
    /// Elements of scratch at the fullest moment: what the variant keeps in memory beside inputs, weights and output. Counted where values
    /// are stored in the type that they are computed in; narrower ones may be kept wider meanwhile, which the metered figure knows.
    pub scratch: &'static str,
}

/// A condition between axes.
#[derive(Clone, Copy)]
pub struct Condition {
    /// What must hold, for messages.
    pub text: &'static str,
    /// Whether it holds for resolved axes.
    pub holds: fn(&Axes) -> bool,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

/// One axis: its name, meaning, range and default.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AxisSpec {
    /// Its name, in experiment files, on the command line and as a column.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Which values it takes.
    #[serde(flatten)]
    pub kind: AxisKind,
    /// Its value where none is given.
    pub default: AxisDefault,
}

/// Which values an axis takes.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AxisKind {
    /// Whole numbers in a closed range.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Real numbers in a closed range.
    Float {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// One of these names.
    Choice {
        /// The names.
        of: &'static [&'static str],
    },
    /// A precision: a preset's name or weight/activation/accumulate.
    Precision,
    /// A variant of another family, with parameters in parentheses: `linformer(rank=64)`.
    Component {
        /// The family.
        family: &'static str,
    },
    /// Any text, such as a folder's name.
    Text,
}

/// An axis' value where none is given.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AxisDefault {
    /// This number.
    Int(i64),
    /// This number.
    Float(f64),
    /// This name.
    Text(&'static str),
    /// The value of another axis.
    SameAs(&'static str),
    /// A part of another axis: its value over the divisor, at least one.
    Share {
        /// The other axis.
        of: &'static str,
        /// The divisor.
        divisor: i64,
    },
}

/// One extent of a tensor.
#[derive(Debug, Clone, Copy)]
pub enum Dim {
    /// The value of an axis.
    Axis(&'static str),
    /// Any number of leading dimensions: [batch, n] when drawn, whatever the caller brings in `apply`.
    Rows,
    /// Computed from axes: how it reads, and what it is.
    Of(&'static str, fn(&Axes) -> usize),
}

impl Dim {
    /// How it reads: an axis, `..`, or an expression.
    pub fn text(self) -> &'static str {
        match self {
            Self::Axis(name) => name,
            Self::Rows => "..",
            Self::Of(text, _) => text,
        }
    }

    /// Does it stand for any number of leading dimensions?
    pub fn is_rows(self) -> bool {
        matches!(self, Self::Rows)
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// One input or weight.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TensorSpec {
    /// Its name in `apply` and in materialised inputs.
    pub name: &'static str,
    /// What it is.
    pub role: Role,
    /// Its shape.
    pub shape: &'static [Dim],
    /// How it is drawn for a measured cell.
    #[serde(skip)]
    pub draw: DrawRule,
    /// Where the tensor takes part only under parameters, e.g. `residual` with `position = post`: all of these must hold. In every other
    /// case giving it is an error.
    pub only_with: Option<OnlyWith>,
}

/// Axes, each with the values under which a tensor takes part.
pub type OnlyWith = &'static [(&'static str, &'static [&'static str])];

/// One tensor or weight that is made on the host from the drawn ones.
#[derive(Debug, Clone, Copy)]
pub struct DerivedSpec {
    /// Its name for `bind`.
    pub name: &'static str,
    /// What it is.
    pub role: Role,
    /// Its shape.
    pub shape: &'static [Dim],
    /// The form of a weight that is not simply dense at the cell's precision.
    pub form: Option<fn(&Axes) -> WeightForm>,
}

/// What a tensor is to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Changes from call to call, and is an argument of each; kept in the precision's storage type (indices in i32).
    Activation,
    /// Outlives a call, such as the keys that a decoder has cached; kept in the storage type.
    State,
    /// A matrix [outputs, inputs], or several of one shape [count, outputs, inputs], prepared before the timer in the precision's weight
    /// type.
    Weight,
    /// A trained tensor that is no matrix product's weight (bias, scale, filter, projection of positions); kept in the storage type.
    Vector,
    /// A trained matrix that the engine never sees: host transforms make something else of it (factors, masks, codes).
    Source,
    /// Whole numbers (a permutation, a table of places); kept in i32.
    Index,
}

/// How a tensor is drawn.
#[derive(Debug, Clone, Copy)]
pub enum DrawRule {
    /// By the cell's distribution.
    Distribution,
    /// Normal with standard deviation 1 / sqrt(last extent).
    FanIn,
    /// Normal with this deviation around this mean.
    Around(f64, f64),
    /// Whole numbers below this bound, uniformly: token numbers.
    Below(fn(&Axes) -> usize),
}

/// A tensor of one cell: a name, and a shape without symbols.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What it is.
    pub role: Role,
    /// Its extents.
    pub shape: Vec<usize>,
    /// How it is drawn, if it is.
    pub draw: DrawRule,
    /// The form of a weight that is not simply dense at the cell's precision.
    pub form: Option<WeightForm>,
}

impl Placed {
    /// Is it made of whole numbers?
    pub fn is_index(&self) -> bool {
        self.role == Role::Index || matches!(self.draw, DrawRule::Below(_))
    }
}

/// The names of all choices of an instruction set.
const INSTRUCTION_SETS: [&str; IsaChoice::ALL.len()] = {
    let mut names = [""; IsaChoice::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = IsaChoice::ALL[at].name();
        at += 1;
    }
    names
};

/// Axes that every cell has, whatever its variant.
pub const COMMON_AXES: &[AxisSpec] = &[
    AxisSpec {
        name: "precision",
        doc: "number formats: a preset, or weight/activation/accumulate",
        kind: AxisKind::Precision,
        default: AxisDefault::Text("f32"),
    },
    AxisSpec {
        name: "threads",
        doc: "threads that the engine may use",
        kind: AxisKind::Int { min: 1, max: 4096 },
        default: AxisDefault::Int(1),
    },
    AxisSpec {
        name: "isa",
        doc: "instruction set that the engine is to use: the best of the machine, or a lower path",
        kind: AxisKind::Choice { of: &INSTRUCTION_SETS },
        default: AxisDefault::Text("auto"),
    },
    AxisSpec {
        name: "seed",
        doc: "seed of inputs and weights",
        kind: AxisKind::Int { min: 0, max: i64::MAX },
        default: AxisDefault::Int(1),
    },
    AxisSpec {
        name: "distribution",
        doc: "how activations are drawn",
        kind: AxisKind::Choice { of: &["gaussian", "peaked", "clustered", "extreme"] },
        default: AxisDefault::Text("gaussian"),
    },
    AxisSpec {
        name: CACHE,
        doc: "what the processor's caches hold when a timed call begins: what the call before left there, or nothing of the cell",
        kind: AxisKind::Choice { of: &[WARM, COLD] },
        default: AxisDefault::Text(WARM),
    },
];

/// The axis that says what caches hold when a timed call begins.
pub const CACHE: &str = "cache";
/// What the call before left there.
pub const WARM: &str = "warm";
/// Nothing of the cell: neither inputs nor weights.
pub const COLD: &str = "cold";

impl Descriptor {
    /// The part of the name before the slash.
    pub fn family(&self) -> &'static str {
        self.name.split('/').next().unwrap_or(self.name)
    }

    /// Every axis that a cell of this variant has: problem, parameters, common.
    pub fn axes(&self) -> impl Iterator<Item = &'static AxisSpec> + use<> {
        self.problem.iter().chain(self.parameters).chain(COMMON_AXES)
    }

    /// The axis of that name.
    pub fn axis(&self, name: &str) -> Option<&'static AxisSpec> {
        self.axes().find(|axis| axis.name == name)
    }
}

impl TensorSpec {
    /// With sizes.
    pub fn placed(&self, axes: &Axes) -> Placed {
        Placed { name: self.name.into(), role: self.role, shape: shape_of(self.shape, axes), draw: self.draw, form: None }
    }

    /// Does this tensor take part in a cell with these axes?
    pub fn takes_part(&self, axes: &Axes) -> bool {
        let holds = |axis: &str, values: &[&str]| axes.get(axis).and_then(AxisValue::as_text).is_some_and(|value| values.contains(&value));
        self.only_with.unwrap_or_default().iter().all(|(axis, values)| holds(axis, values))
    }
}

impl DerivedSpec {
    /// With sizes.
    pub fn placed(&self, axes: &Axes) -> Placed {
        let form = self.form.map(|form| form(axes));
        Placed { name: self.name.into(), role: self.role, shape: shape_of(self.shape, axes), draw: DrawRule::FanIn, form }
    }
}

impl AxisDefault {
    /// The axis that it follows, where it follows one.
    pub fn followed(self) -> Option<&'static str> {
        match self {
            Self::SameAs(other) | Self::Share { of: other, .. } => Some(other),
            _ => None,
        }
    }

    /// The value, once every axis before it has one.
    pub fn following(self, axes: &Axes) -> Option<AxisValue> {
        match self {
            Self::SameAs(other) => axes.get(other).cloned(),
            Self::Share { of, divisor } => axes.get(of).and_then(AxisValue::as_int).map(|value| AxisValue::Int((value / divisor).max(1))),
            _ => self.value(),
        }
    }

    /// The value, where it does not depend on another axis.
    pub fn value(self) -> Option<AxisValue> {
        match self {
            Self::Int(value) => Some(AxisValue::Int(value)),
            Self::Float(value) => Some(AxisValue::Float(value)),
            Self::Text(value) => Some(AxisValue::from(value)),
            Self::SameAs(_) | Self::Share { .. } => None,
        }
    }
}
