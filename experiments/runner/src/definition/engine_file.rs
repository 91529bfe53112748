//! An engine of somebody's own, from a file beside the experiment: `--engine-file my-engine.toml`.
//!
//! ```toml
//! name = "mine"                            # or several, of one program: ["mine", "mine-fast"]
//! command = ["python3", "my_engine.py"]    # is started in the folder of this file
//! env = { OMP_WAIT_POLICY = "passive" }
//! variants = ["softmax/*", "linear/dense"] # what it computes; all where nothing is said
//! precisions = ["f32"]                     # likewise
//! when = 'n <= 4096'                       # as in a sweep
//! step_timeout_s = 20                      # for one answer; else that of the experiment
//! ```
//!
//! The engine joins every sweep of the experiment, whichever engines that names. What it does not support is left out of the plan, counted with
//! the reason, as by `exclude` of a sweep: who writes such a file has said so beforehand, and an experiment of many variants would be full of
//! rows that tell nothing else. What it supports and cannot do all the same is a row, as for every worker.
//!
//! The text stays with what was read of it, for the copy that a run keeps.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crossover_core::dtype::Precision;
use crossover_variants::descriptor::Descriptor;
use crossover_variants::registry;
use toml::Spanned;

use super::check::{Result, check_filter, check_name, check_worker, look_up, no_duplicates, timeouts};
use super::error::{DefinitionError, Source, line_starts};
use super::model::{Definition, EngineChoice, Exclude, Rule, Support, WorkerCommand};
use super::reader::{Key, Table, Value};
use super::{read_text, wire};

const ENGINE: &[Key] = &[
    Key { name: "name", example: r#"name = "mine""# },
    Key { name: "command", example: r#"command = ["python3", "my_engine.py"]"# },
    Key { name: "env", example: r#"env = { OMP_WAIT_POLICY = "passive" }"# },
    Key { name: "variants", example: r#"variants = ["softmax/*", "linear/dense"]"# },
    Key { name: "precisions", example: r#"precisions = ["f32", "bf16"]"# },
    Key { name: "when", example: "when = 'n <= 4096'" },
    Key { name: "step_timeout_s", example: "step_timeout_s = 60" },
];

/// A file that was read and checked.
#[derive(Debug, Clone)]
pub struct EngineFile {
    /// Where it lies.
    pub file: PathBuf,
    /// All of it.
    pub text: String,
    names: Vec<Spanned<String>>,
    worker: WorkerCommand,
    /// What is beyond it, with the reason.
    beyond: Vec<Exclude>,
}

impl EngineFile {
    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<Self> {
        Self::parse(file, read_text(file)?)
    }

    /// Checks the text of one.
    pub fn parse(file: &Path, text: String) -> Result<Self> {
        let starts = line_starts(&text);
        let source = Source::new(file, &text, &starts);
        let tree = wire::parse(source)?;
        let table = Table::open(source, "an engine file", ENGINE, 0..0, tree.get_ref())?;
        let names = table.require("name")?.text_or_texts()?;
        no_duplicates(source, "engine", &names)?;
        names.iter().try_for_each(|name| check_name(source, "an engine's name", name))?;
        let (_, worker) = check_worker(source, wire::worker(names[0].clone(), &table)?)?;
        // A run may be resumed from elsewhere.
        let folder = std::path::absolute(file).ok().and_then(|file| file.parent().map(Path::to_owned));
        let beyond = beyond(source, &table, &names)?;
        Ok(Self { file: file.to_owned(), names, worker: WorkerCommand { folder, ..worker }, beyond, text })
    }

    /// An error about a name.
    fn wrong(&self, name: &Spanned<String>, message: String) -> DefinitionError {
        let starts = line_starts(&self.text);
        Source::new(&self.file, &self.text, &starts).error(name.span(), message, "choose another name")
    }

    fn place(&self, name: &Spanned<String>) -> String {
        let starts = line_starts(&self.text);
        Source::new(&self.file, &self.text, &starts).place(name.span().start).to_string()
    }
}

impl Definition {
    /// With these engines in every sweep.
    ///
    /// # Errors
    /// When the experiment or another file gives a worker to an engine of the same name.
    pub fn with_engine(mut self, engine: &EngineFile) -> Result<Self> {
        for name in &engine.names {
            if let Some(known) = self.workers.get(name.get_ref()) {
                return Err(engine.wrong(name, format!("{:?} has a worker already, by {}", name.get_ref(), known.place)));
            }
            let place = engine.place(name);
            self.workers.insert(name.get_ref().clone(), WorkerCommand { place: place.clone(), ..engine.worker.clone() });
            for sweep in &mut self.sweeps {
                let choice = EngineChoice::Named { name: name.get_ref().clone(), place: place.clone() };
                // An experiment that names it without a worker for it means this one.
                let is_new = |known: &EngineChoice| !matches!(known, EngineChoice::Named { name: known, .. } if known == name.get_ref());
                if sweep.engines.iter().all(is_new) {
                    sweep.engines.push(choice);
                }
            }
        }
        self.sweeps.iter_mut().for_each(|sweep| sweep.excludes.extend(engine.beyond.iter().cloned()));
        self.measure.engine_timeouts = timeouts(&self.workers);
        Ok(self)
    }
}

/// What the engines of a file do not support, one rule for each thing that it says.
fn beyond(source: Source<'_>, table: &Table<'_>, names: &[Spanned<String>]) -> Result<Vec<Exclude>> {
    let mut said: Vec<(&str, Support)> = Vec::new();
    if let Some(patterns) = table.get("variants").map(Value::texts).transpose()? {
        said.push(("variants", Support::Variants(variants(source, &patterns)?)));
    }
    if let Some(precisions) = table.get("precisions").map(Value::texts).transpose()? {
        said.push(("precisions", Support::Precisions(precisions.iter().map(|one| precision(source, one)).collect::<Result<_>>()?)));
    }
    if let Some(when) = table.get("when").map(Value::text).transpose()? {
        said.push(("when", Support::When(check_filter(source, &when)?)));
    }
    let engines: Vec<String> = names.iter().map(|name| name.get_ref().clone()).collect();
    let file = source.file.file_name().unwrap_or_default().to_string_lossy();
    let exclude = |(key, support)| {
        let does = if engines.len() == 1 { "does" } else { "do" };
        let because = format!("{} {does} not support it (`{key}` in {file})", engines.join(" and "));
        Exclude { rule: Rule::Beyond { engines: engines.clone(), support }, because }
    };
    Ok(said.into_iter().map(exclude).collect())
}

fn variants(source: Source<'_>, patterns: &[Spanned<String>]) -> Result<Vec<&'static str>> {
    no_duplicates(source, "variant", patterns)?;
    let all: Vec<&'static Descriptor> = registry::entries().into_iter().map(|entry| entry.descriptor).collect();
    let mut found: BTreeSet<&'static str> = BTreeSet::new();
    for pattern in patterns {
        found.extend(look_up(source, &all, pattern)?.into_iter().map(|variant| variant.name));
    }
    Ok(found.into_iter().collect())
}

/// A precision as cells spell it.
fn precision(source: Source<'_>, text: &Spanned<String>) -> Result<String> {
    let read = text.get_ref().parse::<Precision>().map(|precision| precision.to_string());
    read.map_err(|problem| source.error(text.span(), problem, "`crossover list engines` shows which have kernels of their own"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::parse;
    use super::*;

    const MINE: &str = r#"name = ["mine", "mine-fast"]
command = ["python3", "my_engine.py"]
env = { A = "b" }
variants = ["softmax/*", "linear/dense"]
precisions = ["f32", "bf16"]
when = 'n <= 64'
step_timeout_s = 20
"#;

    const EXPERIMENT: &str = "name = 'x'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['*']\n\
                              [[sweep]]\nvariants = ['norm/none']\nengines = ['naive', 'mine']\n";

    fn engine(text: &str) -> Result<EngineFile> {
        EngineFile::parse(Path::new("/there/mine.toml"), text.to_owned())
    }

    fn experiment(more: &str) -> Definition {
        parse(Path::new("x.toml"), &format!("{EXPERIMENT}{more}")).unwrap()
    }

    #[test]
    fn it_joins_every_sweep_once_with_its_command_and_its_limits() {
        let definition = experiment("").with_engine(&engine(MINE).unwrap()).unwrap();
        let named = |name: &str, place: &str| EngineChoice::Named { name: name.into(), place: place.into() };
        let [mine, fast] = [named("mine", "/there/mine.toml:1:9"), named("mine-fast", "/there/mine.toml:1:17")];
        assert_eq!(definition.sweeps[0].engines, [EngineChoice::Ours, mine, fast.clone()]);
        assert_eq!(definition.sweeps[1].engines, [named("naive", "x.toml:7:12"), named("mine", "x.toml:7:21"), fast]);
        let worker = &definition.workers["mine-fast"];
        assert_eq!((worker.command.join(" "), worker.env["A"].as_str()), ("python3 my_engine.py".to_owned(), "b"));
        assert_eq!(worker.folder.as_deref(), Some(Path::new("/there")));
        let deadline = |engine: &str| definition.measure.deadline(engine);
        assert_eq!((deadline("mine"), deadline("naive")), (Duration::from_secs(20), Duration::from_secs(60)));
        let because: Vec<&str> = definition.sweeps[1].excludes.iter().map(|exclude| exclude.because.as_str()).collect();
        let expected = ["variants", "precisions", "when"].map(|key| format!("mine and mine-fast do not support it (`{key}` in mine.toml)"));
        assert_eq!(because, expected.each_ref().map(String::as_str));
        let plain = experiment("").with_engine(&engine("name = 'mine'\ncommand = ['x']\n").unwrap()).unwrap();
        assert!(plain.sweeps.iter().all(|sweep| sweep.excludes.is_empty()), "all is supported where nothing is said");
    }

    #[test]
    fn a_name_has_one_worker() {
        let twice = experiment("").with_engine(&engine(MINE).unwrap()).unwrap().with_engine(&engine(MINE).unwrap()).unwrap_err();
        insta::assert_snapshot!(twice, @r#"
        /there/mine.toml:1:9: "mine" has a worker already, by /there/mine.toml:1:9
          1 | name = ["mine", "mine-fast"]
            |         ^^^^^^
          choose another name
        "#);
        let of_experiment = experiment("[workers.mine]\ncommand = ['x']\n").with_engine(&engine(MINE).unwrap()).unwrap_err().to_string();
        assert!(of_experiment.contains("\"mine\" has a worker already, by x.toml:8:10"), "{of_experiment}");
    }

    #[test]
    fn complaints_have_their_place() {
        let with = |line: &str| engine(&format!("name = 'mine'\ncommand = ['x']\n{line}\n")).unwrap_err().to_string();
        insta::assert_snapshot!(with("variants = ['softmax/stabel']"), @r#"
        /there/mine.toml:3:13: unknown variant "softmax/stabel"
          3 | variants = ['softmax/stabel']
            |             ^^^^^^^^^^^^^^^^
          did you mean "softmax/stable"? `crossover list variants` prints them all
        "#);
        for (line, wanted) in [
            ("variant = ['softmax/stable']", "unknown key \"variant\" in an engine file"),
            ("variants = []", "is an empty list"),
            ("variants = ['softmax/*', 'softmax/*']", "listed twice"),
            ("precisions = ['f33']", "unknown precision \"f33\""),
            ("precisions = 'f32'", "must be a list"),
            ("when = 'm <= 3'", ":3:8: "),
            ("step_timeout_s = 0", "must be a whole number from 1"),
            ("env = { A = 1 }", "must be text in quotes"),
        ] {
            let complaint = with(line);
            assert!(complaint.starts_with("/there/mine.toml:3:") && complaint.contains(wanted), "{complaint}");
        }
        for (text, wanted) in [
            ("command = ['x']", "an engine file needs the key \"name\""),
            ("name = 'mine'", "an engine file needs the key \"command\""),
            ("name = 'm ine'\ncommand = ['x']", "holds a character that it must not"),
            ("name = ['a', 'a']\ncommand = ['x']", "listed twice"),
            ("name = []\ncommand = ['x']", "is an empty list"),
            ("name = 'mine'\ncommand = ['']", "the command is empty"),
            ("[[sweep]]\nengines = ['*']", "unknown key \"sweep\" in an engine file"),
            ("name =", "the file is TOML"),
        ] {
            let complaint = engine(text).unwrap_err().to_string();
            assert!(complaint.contains(wanted), "{complaint}");
        }
    }
}
