//! `[bases.NAME]`: settings that several sweeps share by name.

use std::collections::BTreeMap;

use crossover_core::axes::AxisValue;
use crossover_variants::descriptor::Descriptor;
use crossover_variants::resolve::{check_value, closest};
use toml::Spanned;

use super::check::{Result, check_axes, check_name};
use super::error::Source;
use super::model::AxisSetting;
use super::wire::WireAxis;
use crate::series::Wanted;

/// Settings by the name of their base.
pub(super) type Bases = BTreeMap<String, Vec<AxisSetting>>;

/// Named settings; a base may say things that only some of its sweeps' variants know.
pub(super) fn check_bases(source: Source<'_>, all: &[&'static Descriptor], wire: Vec<(Spanned<String>, Vec<WireAxis>)>) -> Result<Bases> {
    let mut bases = Bases::new();
    for (name, axes) in wire {
        check_name(source, "the name of a base", &name)?;
        let axes = check_axes(source, "any family", all, all, axes)?;
        expect_takers(source, all, &name, &axes)?;
        bases.insert(name.into_inner(), axes);
    }
    Ok(bases)
}

/// Each value of a base must be one that some variant takes; a sweep says the same of its own when it is planned.
fn expect_takers(source: Source<'_>, all: &[&'static Descriptor], base: &Spanned<String>, settings: &[AxisSetting]) -> Result<()> {
    for (setting, name) in settings.iter().flat_map(|setting| setting.names.iter().map(move |name| (setting, name))) {
        let takes = |value: &AxisValue| {
            let mut axes = all.iter().filter_map(|variant| variant.axis(name).map(|axis| (variant.name, axis)));
            axes.any(|(variant, axis)| check_value(variant, axis, value).is_ok())
        };
        let untaken = |value: &&Wanted| matches!(value, Wanted::Exact(value) if !takes(value));
        if let Some(value) = setting.values_of(name).find(untaken) {
            let message = format!("no variant takes {name} = {value}, which the base {:?} sets", base.get_ref());
            let help = r#"a base holds axes and no other bases; a sweep may name several: base = ["one", "two"]"#;
            return Err(source.error(base.span(), message, help));
        }
    }
    Ok(())
}

/// The settings of the base of that name.
pub(super) fn find_base<'a>(source: Source<'_>, bases: &'a Bases, name: &Spanned<String>) -> Result<&'a [AxisSetting]> {
    bases.get(name.get_ref()).map(Vec::as_slice).ok_or_else(|| {
        let nearest = closest(name.get_ref(), bases.keys().map(String::as_str)).map(|near| format!("did you mean {near:?}? "));
        let help = format!("{}a base is a table [bases.{}] of axes", nearest.unwrap_or_default(), name.get_ref());
        source.error(name.span(), format!("there is no base {:?}", name.get_ref()), help)
    })
}
