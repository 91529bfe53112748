//! Runs a call on the host: the kernel's own source, compiled as C++ behind `kernels/host.cpp`. No GPU is needed, only a C++ compiler.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Launch, Program};

const PRELUDE: &str = include_str!("kernels/host.cpp");
/// What stands behind the kernel: the call that a fiber makes.
const CALL: &str = "static void call_kernel() { ENTRY(*(Parameters *)parameters.data()); }\n";

/// A compiled kernel, removed with the value.
pub(crate) struct Host {
    program: Program,
    folder: PathBuf,
}

impl Drop for Host {
    fn drop(&mut self) {
        // What stays behind is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Host {
    /// None, said aloud, where there is no C++ compiler; in CI that fails the test, since a passing test shows no words. `name` is unique
    /// among the tests of a process.
    pub(crate) fn compile(program: &Program, name: &str) -> Option<Self> {
        if Command::new("c++").arg("--version").output().is_err() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI needs a C++ compiler `c++`: the kernels' tests run on it");
            eprintln!("SKIPPED: there is no C++ compiler `c++` here, so the kernel {} was not run", program.entry);
            return None;
        }
        let folder = std::env::temp_dir().join(format!("crossover-kernel-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let host = Self { program: program.clone(), folder };
        let source = host.folder.join("kernel.cpp");
        std::fs::write(&source, program.text(PRELUDE) + CALL).unwrap();
        let mut command = Command::new("c++");
        command.args(["-std=c++17", "-O1", "-w", "-ffp-contract=off"]).arg(format!("-DENTRY={}", program.entry));
        let output = command.arg(&source).arg("-o").arg(host.folder.join("kernel")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(host)
    }

    /// What the buffers hold afterwards. The call is made with the threads in order and in reverse, which must not matter.
    pub(crate) fn run(&self, launch: Launch, buffers: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let Launch { program, grid, threads, shared, parameters } = launch;
        assert_eq!(program, self.program, "the call is of another kernel");
        let (parameters, pointers) = parameters.laid_out();
        let [forward, backward] = [0, 1].map(|reversed| {
            let header = [grid[0], grid[1], grid[2], threads, shared, reversed, buffers.len(), parameters.len()];
            let mut input: Vec<u8> = header.into_iter().flat_map(|number| (number as u32).to_le_bytes()).collect();
            for buffer in buffers {
                input.extend((buffer.len() as u64).to_le_bytes());
                input.extend(buffer);
            }
            input.extend(&parameters);
            input.extend((pointers.len() as u32).to_le_bytes());
            for &(place, buffer) in &pointers {
                input.extend([place as u32, buffer as u32].map(u32::to_le_bytes).concat());
                input.extend(0u64.to_le_bytes());
            }
            self.process(&input)
        });
        assert_eq!(forward, backward, "the order of the threads shows: a barrier is missing");
        let mut rest = forward.as_slice();
        buffers
            .iter()
            .map(|buffer| {
                let (own, others) = rest.split_at(buffer.len());
                rest = others;
                own.to_vec()
            })
            .collect()
    }

    fn process(&self, input: &[u8]) -> Vec<u8> {
        let mut command = Command::new(self.folder.join("kernel"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // All input is read before anything is written.
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}
