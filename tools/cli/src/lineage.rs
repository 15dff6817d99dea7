//! `cobring frame lineage`: the input behind a frame.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use cobring_pipeline::log::{newest_run, run_of_epoch};
use cobring_pipeline::survey::{self, LoggedInput};
use cobring_types::Nanos;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "Examples:
  cobring frame lineage ETHUSDT 27000                       # of the newest run in the configured log
  cobring frame lineage ETHUSDT 27000 --log cobring-log --epoch 1767225600000000000
  cobring frame lineage ETHUSDT 27000 --json | jq .input.message

The log is folded anew from the last checkpoint before the frame. A timer's frame shows the last input that was
folded before it. Latencies are differences of clocks: event to receipt is between the venue's and ours.";

#[derive(Debug, Args)]
pub(crate) struct Lineage {
    /// The symbol.
    #[arg(value_name = "SYMBOL")]
    symbol: String,
    /// The frame's number, as `seq` in the frame.
    #[arg(value_name = "SEQ")]
    seq: u64,
    /// Directory of the log; by default that of --config.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The frame's run; by default the newest one.
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// Configuration that names the log's directory; by default the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Lineage {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let dir = match self.log {
            Some(dir) => dir,
            None => output::config(self.config.as_deref())?.log.dir,
        };
        let files = match self.epoch {
            Some(epoch) => run_of_epoch(&dir, epoch),
            None => newest_run(&dir),
        };
        let files =
            files.map_err(|error| Failure::Failed(format!("{}: {error}", dir.display())))?;
        let lineage = output::with_progress("lineage", |progress| {
            survey::lineage(files, &self.symbol, self.seq, progress)
        });
        let lineage = lineage.map_err(Failure::failed)?;
        let mut out = BufWriter::new(io::stdout().lock());
        if self.json {
            writeln!(out, "{}", lineage_json(&lineage))?;
        } else {
            print(&mut out, &lineage)?;
        }
        out.flush()?;
        Ok(())
    }
}

fn print(out: &mut impl Write, lineage: &survey::Lineage) -> io::Result<()> {
    let survey::Lineage { epoch, symbol, seq, trigger, ts_event, ts_recv, input, previous } =
        lineage;
    writeln!(out, "frame {seq} of {symbol} in epoch {epoch}: {trigger}")?;
    writeln!(out, "  ts_event {}  ts_recv {}", time(*ts_event), time(*ts_recv))?;
    match input {
        Some(input) => print_input(out, "input", input, *ts_event)?,
        None => writeln!(out, "input: the log does not hold it")?,
    }
    if let Some(previous) = previous {
        print_input(out, "previous input", previous, Nanos::UNDEF)?;
    }
    Ok(())
}

fn print_input(
    out: &mut impl Write,
    what: &str,
    input: &LoggedInput,
    ts_event: Nanos,
) -> io::Result<()> {
    let stamp = &input.stamp;
    writeln!(
        out,
        "{what} {}: {:?}, connection {}, aux {}",
        stamp.input_seq, input.kind, input.connection, input.aux
    )?;
    writeln!(out, "  record at offset {} of {}", input.offset, input.path.display())?;
    writeln!(
        out,
        "  ts_kernel {}  ts_recv {}  ts_aux {}",
        time(stamp.ts_kernel),
        time(stamp.ts_recv),
        time(input.ts_aux)
    )?;
    for (name, from) in [("event to receipt", ts_event), ("kernel to receipt", stamp.ts_kernel)] {
        if let Some(latency) = latency_ns(from, stamp.ts_recv) {
            writeln!(out, "  {name} {latency} ns")?;
        }
    }
    match message(&input.bytes) {
        Value::Null => Ok(()),
        Value::String(text) => writeln!(out, "{text}"),
        json => writeln!(out, "{json:#}"),
    }
}

fn lineage_json(lineage: &survey::Lineage) -> Value {
    json!({
        "epoch": lineage.epoch,
        "symbol": lineage.symbol,
        "seq": lineage.seq,
        "trigger": lineage.trigger,
        "ts_event": lineage.ts_event.get(),
        "ts_recv": lineage.ts_recv.get(),
        "input": lineage.input.as_ref().map(|input| input_json(input, lineage.ts_event)),
        "previous": lineage.previous.as_ref().map(|input| input_json(input, Nanos::UNDEF)),
    })
}

fn input_json(input: &LoggedInput, ts_event: Nanos) -> Value {
    let stamp = &input.stamp;
    json!({
        "input_seq": stamp.input_seq,
        "kind": format!("{:?}", input.kind),
        "connection": input.connection,
        "aux": input.aux,
        "ts_kernel": stamp.ts_kernel.get(),
        "ts_recv": stamp.ts_recv.get(),
        "ts_aux": input.ts_aux.get(),
        "event_to_recv_ns": latency_ns(ts_event, stamp.ts_recv),
        "kernel_to_recv_ns": latency_ns(stamp.ts_kernel, stamp.ts_recv),
        "file": input.path,
        "offset": input.offset,
        "message": message(&input.bytes),
    })
}

/// JSON as it is, other text as text, bytes of another kind by their number.
fn message(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes).unwrap_or_else(|_| match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => Value::String(format!("{} bytes that are no text", bytes.len())),
    })
}

fn latency_ns(from: Nanos, to: Nanos) -> Option<i64> {
    Some(to.get()? - from.get()?)
}

fn time(ts: Nanos) -> String {
    ts.get().map_or("–".to_owned(), |ns| ns.to_string())
}
