//! The memory pass of a real worker: allocations are counted on all threads of the process, so it must have one to itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crossover_protocol::Response;

#[test]
fn a_warm_call_allocates_nothing() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_crossover-worker")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let cell = r#"{"id":"x","variant":"softmax/stable","engine":"naive","axes":{"n":3,"classes":17}}"#;
    let requests = format!(
        "{{\"type\":\"hello\",\"protocol\":1}}\n{{\"type\":\"prepare\",\"cell\":{cell},\"inputs\":null}}\n{{\"type\":\"account\"}}\n{{\"type\":\"quit\"}}\n"
    );
    child.stdin.take().unwrap().write_all(requests.as_bytes()).unwrap();
    // All of them: a worker that cannot say goodbye fails.
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let responses: Vec<Response> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(child.wait().unwrap().success());
    let accounted = responses.into_iter().find_map(|response| match response {
        Response::Accounted(memory) => Some(memory),
        _ => None,
    });
    assert_eq!(accounted.unwrap().warm_allocations, Some(0));
}
