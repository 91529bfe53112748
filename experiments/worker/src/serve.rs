//! The loop of the protocol: one request a line, one response a line.

use std::io::{BufRead, Write};

use anyhow::Result;
use crossover_protocol::{
    Capabilities, EngineInfo, FailureKind, Fault, HelloReply, PROTOCOL_VERSION, ReadLine, Request, Response, WireError, read_message,
    write_message,
};

use crate::session::Session;
use crate::{apply, fingerprint, probe};

/// Answers requests until `quit` or the end of stdin. Reading blocks, so that a waiting worker uses no processor time.
pub fn serve(mut reader: impl BufRead, mut writer: impl Write) -> Result<()> {
    let mut session = Session::open();
    loop {
        let request = match read_message::<Request>(&mut reader) {
            Ok(ReadLine::Message(request)) => request,
            Ok(ReadLine::End) => return Ok(()),
            Err(WireError::Io(error)) => return Err(error.into()),
            Err(error) => {
                write_message(&mut writer, &Response::Failed(bad_request(error.to_string())))?;
                continue;
            }
        };
        let quit = matches!(request, Request::Quit {});
        let response = answer(&mut session, request).unwrap_or_else(Response::Failed);
        write_message(&mut writer, &response)?;
        if quit {
            return Ok(());
        }
    }
}

fn answer(session: &mut Session, request: Request) -> Result<Response, Fault> {
    match request {
        // Also to a runner of another version: it reads ours and says what to do.
        Request::Hello { .. } => Ok(hello(session)),
        Request::Prepare { cell, inputs } => session.prepare(cell, inputs.as_deref()).map(Response::Prepared),
        Request::Verify { output } => session.verify(output.as_deref()),
        Request::Measure { samples, calls } => session.measure(samples, calls).map(Response::Measured),
        Request::Account {} => session.account().map(Response::Accounted),
        Request::Materialize { cell, inputs } => Session::materialize(&cell, &inputs).map(|()| Response::Written {}),
        Request::Judge { cell, output } => Session::judge(&cell, &output).map(Response::Verified),
        Request::Apply { cell, input, output } => apply::apply(&cell, &input, &output).map(Response::Applied),
        Request::Probe { threads } => probe::probe(threads).map(Response::Probed),
        Request::Quit {} => Ok(Response::Bye {}),
    }
}

fn hello(session: &Session) -> Response {
    let engines = crossover_registry::descriptions().into_iter().map(|engine| EngineInfo {
        name: engine.name.to_owned(),
        summary: engine.summary.to_owned(),
        isa: engine.isa.into_owned(),
        native: engine.native.into_iter().map(str::to_owned).collect(),
    });
    Response::Hello(HelloReply {
        protocol: PROTOCOL_VERSION,
        worker: "crossover-worker".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        build: fingerprint::build(),
        engines: engines.collect(),
        capabilities: Capabilities { draws_inputs: true, judges: true, empties_caches: true },
        instruments: session.instruments(),
    })
}

/// A fault of the one who asked.
pub fn bad_request(message: impl Into<String>) -> Fault {
    Fault { kind: FailureKind::BadRequest, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_protocol::MeasuredReply;

    fn converse(lines: &str) -> Vec<Response> {
        let mut written = Vec::new();
        serve(lines.as_bytes(), &mut written).unwrap();
        String::from_utf8(written).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    const CELL: &str = r#"{"id":"x","variant":"softmax/stable","engine":"naive","axes":{"n":3,"classes":17}}"#;

    #[test]
    fn a_cell_lives_from_hello_to_bye() {
        let responses = converse(&format!(
            "{{\"type\":\"hello\",\"protocol\":1}}\n{{\"type\":\"prepare\",\"cell\":{CELL},\"inputs\":null}}\n{{\"type\":\"verify\",\"output\":null}}\n\
             {{\"type\":\"measure\",\"samples\":3,\"calls\":2}}\n{{\"type\":\"account\"}}\n{{\"type\":\"quit\"}}\n"
        ));
        let [
            Response::Hello(_),
            Response::Prepared(prepared),
            Response::Verified(verified),
            Response::Measured(MeasuredReply { samples, conditions: Some(_) }),
            Response::Accounted(memory),
            Response::Bye {},
        ] = &responses[..]
        else {
            panic!("{responses:?}");
        };
        assert!(verified.passed, "{verified:?}");
        assert_eq!((prepared.flops, samples.len()), (5 * 3 * 17, 3));
        assert!(samples.iter().all(|sample| sample.calls == 2 && sample.ns > 0));
        assert_eq!(memory.activation_bytes, 2 * 3 * 17 * 4);
    }

    #[test]
    fn nonsense_is_answered_and_survived() {
        let responses = converse(&format!(
            "garbage\n{{\"type\":\"verify\",\"output\":null}}\n{{\"type\":\"hello\",\"protocol\":99}}\n{{\"type\":\"prepare\",\"cell\":{},\"inputs\":null}}\n{{\"type\":\"quit\"}}\n",
            CELL.replace("stable", "stabel")
        ));
        let messages: Vec<&str> =
            responses.iter().filter_map(|r| if let Response::Failed(fault) = r { Some(&*fault.message) } else { None }).collect();
        assert_eq!(messages.len(), 3);
        assert!(matches!(&responses[2], Response::Hello(hello) if hello.protocol == PROTOCOL_VERSION));
        assert!(messages[1].contains("prepare"), "{messages:?}");
        assert!(messages[2].contains("softmax/stable"), "{messages:?}");
        assert_eq!(responses.last(), Some(&Response::Bye {}));
    }
}
