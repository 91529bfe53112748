//! `apply`: one variant, once, on tensors that the caller brings.
//!
//! Sizes are read off the tensors by matching their shapes with the symbolic ones of the description; whatever tensors cannot tell
//! (parameters, precision) comes as axes. Nothing is guessed: a missing, surplus or misshapen tensor is an error that says what the
//! variant wants. Models alone bring more than the caller does: their weights come from the axis `weights`, a seed or a folder.

use std::collections::BTreeMap;
use std::path::Path;

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use crossover_protocol::{Applied, Cell, Fault};
use crossover_variants::descriptor::{Descriptor, Dim, TensorSpec};
use crossover_variants::inputs::CellInputs;
use crossover_variants::registry;
use crossover_variants::resolve::{precision, resolve, shape_of};

use crate::dispatch;
use crate::serve::bad_request;
use crate::session::{fault, internal, level, refuse_what_cannot_fit, unknown_engine, unknown_variant};
use crate::tensor_file::{self, FileTensor};

type File = BTreeMap<String, FileTensor>;

/// Reads, runs, writes.
pub fn apply(cell: &Cell, input: &Path, output: &Path) -> Result<Applied, Fault> {
    let entry = registry::find(&cell.variant).ok_or_else(|| unknown_variant(&cell.variant))?;
    let descriptor = entry.descriptor;
    let file = tensor_file::read(input).map_err(|error| bad_request(format!("{error:#}")))?;
    let mut axes = cell.axes.clone();
    if !axes.contains_key("precision") {
        axes.insert("precision".into(), common_type(&file)?.into());
    }
    // Defaults decide which tensors take part (a residual only under some positions), before any size is known.
    let preliminary = with_defaults(descriptor, &axes);
    check_names(descriptor, &preliminary, &file)?;
    let mut shapes = Shapes::default();
    for tensor in descriptor.tensors.iter().filter(|tensor| tensor.takes_part(&preliminary)) {
        shapes.read(tensor, file[tensor.name].values.shape())?;
    }
    shapes.merge_into(&mut axes)?;
    let axes = resolve(descriptor, &axes).map_err(|error| bad_request(error.to_string()))?;
    let dry = entry.dry_run(&axes).map_err(fault)?;
    refuse_what_cannot_fit(dry.bytes.saturating_add(dry.harness_bytes()))?;
    let mut drawn = folded(descriptor, &axes, file)?;
    // A model's weights are no tensors of its description: they come from its axes (a seed, or a folder of trained ones).
    if entry.drawn(&axes).iter().any(|tensor| !drawn.contains_key(tensor.name.as_ref())) {
        let weights = entry.draw(&axes).map_err(fault)?;
        for (name, values) in weights {
            drawn.entry(name).or_insert(values);
        }
    }
    let inputs = CellInputs::new(&entry, &axes, drawn).map_err(fault)?;
    let support = dispatch::support(&cell.engine, &dry.operations, &axes).ok_or_else(|| unknown_engine(&cell.engine))?.map_err(fault)?;
    let (support, reason) =
        level(support).map_err(|fault| Fault { message: format!("{} on {}: {}", cell.variant, cell.engine, fault.message), ..fault })?;
    let prepared = dispatch::prepare(&cell.engine, &cell.variant, &axes, &inputs).ok_or_else(|| unknown_engine(&cell.engine))?;
    let mut prepared = prepared.map_err(fault)?;
    prepared.call_poisoned().map_err(fault)?;
    let out = prepared.output().and_then(|out| out.reshaped(&shapes.unfold(descriptor, &axes))).map_err(fault)?;
    tensor_file::write(output, &[("out", &out)], precision(&axes).storage()).map_err(internal)?;
    let nonfinite = out.values().iter().filter(|value| !value.is_finite()).count() as u64;
    Ok(Applied { support, reason, axes, nonfinite, values: out.len() as u64 })
}

/// The precision that the file's own type suggests.
fn common_type(file: &File) -> Result<&'static str, Fault> {
    let types: std::collections::BTreeSet<DType> = file.values().map(|tensor| tensor.dtype).collect();
    match types.into_iter().collect::<Vec<_>>()[..] {
        [only] => Ok(only.name()),
        [] => Err(bad_request("the input file holds no tensors")),
        _ => Err(bad_request("the tensors have different types: say which precision to compute in (--precision)")),
    }
}

fn with_defaults(descriptor: &Descriptor, axes: &Axes) -> Axes {
    let mut filled = axes.clone();
    for axis in descriptor.axes() {
        if let Some(value) = axis.default.value() {
            filled.entry(axis.name.to_owned()).or_insert(value);
        }
    }
    filled
}

/// Exactly the tensors that take part, and no NaN among their values.
fn check_names(descriptor: &Descriptor, axes: &Axes, file: &File) -> Result<(), Fault> {
    let wanted: Vec<&TensorSpec> = descriptor.tensors.iter().filter(|tensor| tensor.takes_part(axes)).collect();
    let wants = || wanted.iter().map(|tensor| format!("{} {}", tensor.name, spell(tensor.shape))).collect::<Vec<_>>().join(", ");
    if let Some(missing) = wanted.iter().find(|tensor| !file.contains_key(tensor.name)) {
        return Err(bad_request(format!("the tensor {:?} is missing; {} takes {}", missing.name, descriptor.name, wants())));
    }
    if let Some(surplus) = file.keys().find(|name| !wanted.iter().any(|tensor| tensor.name == *name)) {
        let conditional = descriptor.tensors.iter().find(|tensor| tensor.name == *surplus).and_then(|tensor| tensor.only_with);
        let goes_with = |(axis, values): &(&str, &[&str])| format!("{axis} = {}", values.join(" or "));
        let conditions = conditional.unwrap_or_default().iter().map(goes_with).collect::<Vec<_>>().join(" and ");
        let hint = if conditions.is_empty() { String::new() } else { format!(" ({surplus} goes with {conditions})") };
        return Err(bad_request(format!("the tensor {surplus:?} is not used{hint}; {} takes {}", descriptor.name, wants())));
    }
    for (name, tensor) in file {
        if let Some(at) = tensor.values.values().iter().position(|value| value.is_nan()) {
            return Err(bad_request(format!(
                "the tensor {name:?} holds NaN (first at flat index {at}): remove it, a result would mean nothing"
            )));
        }
    }
    Ok(())
}

/// The extents found so far, with the tensor that told each.
#[derive(Default)]
struct Shapes {
    extents: BTreeMap<&'static str, (usize, &'static str)>,
    leading: Option<(Vec<usize>, &'static str)>,
}

impl Shapes {
    fn read(&mut self, tensor: &TensorSpec, shape: &[usize]) -> Result<(), Fault> {
        let named = tensor.shape.iter().filter(|dim| !dim.is_rows()).count();
        let free = named != tensor.shape.len();
        if shape.len() < named || (!free && shape.len() != named) {
            return Err(bad_request(format!("the tensor {:?} has shape {shape:?}, expected {}", tensor.name, spell(tensor.shape))));
        }
        if let Some(at) = shape.iter().position(|extent| *extent == 0) {
            return Err(bad_request(format!("dimension {at} of the tensor {:?} is empty: shape {shape:?}", tensor.name)));
        }
        let (lead, rest) = shape.split_at(shape.len() - named);
        if free {
            self.note_leading(tensor.name, lead)?;
        }
        // A computed extent tells no axis; `folded` checks it once all axes are known.
        let named = tensor.shape.iter().filter(|dim| !dim.is_rows()).zip(rest);
        for (name, extent) in named.filter_map(|(dim, extent)| if let Dim::Axis(name) = dim { Some((*name, extent)) } else { None }) {
            let (known, teller) = *self.extents.entry(name).or_insert((*extent, tensor.name));
            if known != *extent {
                return Err(bad_request(format!(
                    "{name} is {known} in the tensor {teller:?} but {extent} in {:?} (shape {shape:?}, expected {})",
                    tensor.name,
                    spell(tensor.shape)
                )));
            }
        }
        Ok(())
    }

    fn note_leading(&mut self, tensor: &'static str, lead: &[usize]) -> Result<(), Fault> {
        match &self.leading {
            Some((known, teller)) if known != lead => Err(bad_request(format!(
                "the leading dimensions of {teller:?} are {known:?}, those of {tensor:?} {lead:?}: they must agree"
            ))),
            Some(_) => Ok(()),
            None => {
                self.leading = Some((lead.to_vec(), tensor));
                Ok(())
            }
        }
    }

    /// Adds the sizes to the axes; an axis that was also given must agree.
    fn merge_into(&self, axes: &mut Axes) -> Result<(), Fault> {
        let mut sizes: Vec<(&str, usize, &str)> = self.extents.iter().map(|(name, (extent, teller))| (*name, *extent, *teller)).collect();
        if let Some((lead, teller)) = &self.leading {
            let (rows, outer) = lead.split_last().map_or((1, 1), |(rows, outer)| (*rows, outer.iter().product()));
            sizes.extend([("n", rows, *teller), ("batch", outer, *teller)]);
        }
        for (name, extent, teller) in sizes {
            let value = AxisValue::Int(i64::try_from(extent).unwrap_or(i64::MAX));
            match axes.get(name) {
                Some(given) if *given != value => {
                    return Err(bad_request(format!("{name} = {given} was given, but the tensor {teller:?} has {name} = {value}")));
                }
                _ => axes.insert(name.to_owned(), value),
            };
        }
        Ok(())
    }

    /// The output's shape with the caller's own leading dimensions.
    fn unfold(&self, descriptor: &Descriptor, axes: &Axes) -> Vec<usize> {
        let lead = self.leading.as_ref().map(|(lead, _)| lead.clone()).unwrap_or_default();
        descriptor.output.iter().flat_map(|dim| if dim.is_rows() { lead.clone() } else { shape_of(&[*dim], axes) }).collect()
    }
}

/// The tensors in the shapes of the description: leading dimensions folded to [batch, n].
fn folded(descriptor: &Descriptor, axes: &Axes, file: File) -> Result<HostInputs, Fault> {
    let shape = |name: &str| descriptor.tensors.iter().find(|tensor| tensor.name == name).map(|tensor| shape_of(tensor.shape, axes));
    let tensors = file.into_iter().map(|(name, tensor)| {
        let shape = shape(&name).unwrap_or_else(|| tensor.values.shape().to_vec());
        if shape.iter().product::<usize>() != tensor.values.len() {
            return Err(bad_request(format!("the tensor {name:?} has shape {:?}, expected {shape:?}", tensor.values.shape())));
        }
        tensor.values.reshaped(&shape).map(|values: HostTensor| (name, values)).map_err(fault)
    });
    tensors.collect()
}

/// A symbolic shape for people: [.., d_model].
fn spell(shape: &[Dim]) -> String {
    let names: Vec<&str> = shape.iter().map(|dim| dim.text()).collect();
    format!("[{}]", names.join(", "))
}
