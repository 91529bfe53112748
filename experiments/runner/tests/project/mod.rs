//! A project of its own for each test, and a link to the program with a worker in shell beside it that answers what the test needs.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const HELLO: &str = r#"{"type":"hello","protocol":1,"worker":"fake","version":"7","build":"sh","engines":[{"name":"naive","summary":"plain loops","isa":"scalar","native":["f64","f32"]}],"capabilities":{"draws_inputs":true,"judges":true}}"#;

pub const TINY: &str = "name = \"tiny\"\ndescription = \"two cells\"\n[[sweep]]\nvariants = [\"softmax/stable\"]\nengines = [\"*\"]\n\
                    [sweep.axes]\nn = [2, 4]\n";

/// A project, and how to call the program in it.
pub struct Project {
    pub folder: TempDir,
}

impl Project {
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let definitions = folder.path().join("experiments/definitions");
        fs::create_dir_all(&definitions).unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(definitions.join("tiny.toml"), TINY).unwrap();
        let project = Self { folder };
        // A name of its own, so that only what a test puts beside it is beside it. (A copy could not be started while another
        // test's process, just forked, still has it open for writing.)
        fs::hard_link(env!("CARGO_BIN_EXE_crossover"), project.path("bin/crossover")).unwrap();
        project.program("crossover-worker", &worker("exit 9"));
        project
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn program(&self, name: &str, script: &str) {
        // Written by another process: had this one the file open while another test's thread forks, the child would have it open too,
        // and nothing that is open for writing can be started.
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"cat > "$0" && chmod 755 "$0""#]).arg(self.path("bin").join(name)).stdin(Stdio::piped());
        let mut writer = shell.spawn().unwrap();
        writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("bin/crossover"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("CROSSOVER_ROOT").env_remove("CROSSOVER_WORKER");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        text(&output.stdout)
    }

    /// Standard error of a command that must end with this code, in the form that all errors have.
    pub fn bad(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{complaint}");
        assert!(complaint.starts_with("error: "), "{complaint}");
        assert!(!complaint.contains("panicked") && !complaint.contains("backtrace"), "{complaint}");
        complaint.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// A worker that says hello and goodbye, and does `otherwise` with every other message.
pub fn worker(otherwise: &str) -> String {
    let script = r#"#!/bin/sh
if [ "$1" = cell ]; then printf '%s|' "$@"; exit 0; fi
while read -r line; do
    case "$line" in
    *'"type":"hello"'*) echo 'HELLO' ;;
    *'"type":"quit"'*) echo '{"type":"bye"}'; exit 0 ;;
    *) OTHERWISE ;;
    esac
done
"#;
    script.replace("HELLO", HELLO).replace("OTHERWISE", otherwise)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
