//! The gate as people call it: repositories with a base that builds or does not, baselines that are damaged, time that is too short. Workers are
//! fake ones; the base is a package that becomes the fake worker, built by cargo in a worktree as the real one is.

#[path = "../common/mod.rs"]
mod common;
mod exact;
mod timed;
mod trials;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{WORKER, said};
use tempfile::TempDir;

const EXPERIMENT: &str = "[[sweep]]\nvariants = ['softmax/stable']\nengines = ['ok', 'sleeps']\n";

/// A project in a repository of its own.
struct Repository {
    folder: TempDir,
}

impl Repository {
    /// Whose worker, once built, becomes the fake one with these arguments.
    fn new(arguments: &str) -> Self {
        let repository = Self { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        for name in ["gate", "exact"] {
            repository.write(&format!("experiments/definitions/{name}.toml"), &format!("name = '{name}'\n{EXPERIMENT}"));
        }
        repository.write(".gitignore", "/target/\n");
        repository.write("Cargo.toml", "[package]\nname = 'crossover-worker'\nversion = '0.1.0'\nedition = '2024'\n[workspace]\n");
        repository.write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"crossover-worker\"\nversion = \"0.1.0\"\n");
        repository.worker(arguments);
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        repository.commit("a base");
        repository
    }

    fn worker(&self, arguments: &str) {
        let program = "use std::os::unix::process::CommandExt;\nfn main() {\n    let given = std::env::args_os().skip(1);\n    \
                       panic!(\"{}\", std::process::Command::new(PROGRAM).args([ARGUMENTS] as [&str; COUNT]).args(given).exec());\n}\n";
        let count = if arguments.is_empty() { "0" } else { "1" };
        let program = program.replace("PROGRAM", &format!("{WORKER:?}")).replace("ARGUMENTS", arguments).replace("COUNT", count);
        self.write("src/main.rs", &program);
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        fs::create_dir_all(self.path(below).parent().unwrap()).unwrap();
        fs::write(self.path(below), text).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]);
        let output = git.args(arguments).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn gate(&self, arguments: &[&str]) -> Output {
        gate_in(self.folder.path(), arguments)
    }

    /// A worker that is a shell script.
    fn script(&self, name: &str, script: &str) -> String {
        self.write(name, &format!("#!/bin/sh\n{script}\n"));
        let path = self.path(name);
        assert!(Command::new("chmod").arg("755").arg(&path).status().unwrap().success());
        path.to_str().unwrap().to_owned()
    }

    /// The programs that the gate built, by the commit that their folder begins with.
    fn built(&self, commit: &str) -> Vec<u8> {
        let folders = fs::read_dir(self.path("target/gate/workers")).unwrap().map(|entry| entry.unwrap().path());
        let own: Vec<PathBuf> = folders.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(commit)).collect();
        assert_eq!(own.len(), 1, "{own:?}");
        fs::read(own[0].join("crossover-worker")).unwrap()
    }
}

fn gate_in(folder: &Path, arguments: &[&str]) -> Output {
    command_in(folder, arguments).output().unwrap()
}

fn command_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
    command.arg("gate").args(arguments).current_dir(folder).env("CROSSOVER_WORKER", WORKER).stdin(Stdio::null());
    command
}

/// The output of a command whose reader has gone.
fn unread(mut command: Command) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let all = said(output);
    assert_eq!(output.status.code(), Some(code), "{all}");
    // Lines are broken at 80 columns.
    let flat = all.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "{word:?} is missing in {all}");
    }
}
