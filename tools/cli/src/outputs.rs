//! `cobring outputs`: what a model said, read back from the input log.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use cobring_pipeline::config::Config;
use cobring_pipeline::log::LogReader;
use cobring_types::{Input, InputKind, ModelOutput, Nanos};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cobring outputs cnn                                   # of the newest run in the configured log
  cobring outputs cnn cobring-log/*.cblog --symbol ETHUSDT --jsonl | jq '.outputs[0]'

Of several files all must be of one run. Outputs that the engine refused are in no log: `cobring run` counts
them by reason.")]
pub(crate) struct Outputs {
    /// The model's name, as [models.NAME] has it.
    model: String,
    /// Logs of one run; by default those of the newest run in the configured directory.
    #[arg(value_name = "LOG")]
    files: Vec<PathBuf>,
    /// Only outputs about this symbol.
    #[arg(long)]
    symbol: Option<String>,
    /// Configuration that names the log's directory; by default the built-in one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a JSON object a line.
    #[arg(long)]
    jsonl: bool,
}

impl Outputs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let files = if self.files.is_empty() {
            output::newest_run(&output::config(self.config.as_deref())?.log.dir)?
        } else {
            self.files.clone()
        };
        let mut log = LogReader::open(&files).map_err(Failure::failed)?;
        let symbols = symbols(&log.header().config)?;
        self.check(&symbols)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        if !self.jsonl {
            writeln!(out, "{HEADER}")?;
        }
        let mut outputs = 0_u64;
        while let Some(input) = log.next().map_err(Failure::failed)? {
            let Some((symbol, output)) = self.wanted(&input, &symbols)? else { continue };
            outputs += 1;
            let ts_recv = input.stamp.ts_recv;
            if self.jsonl {
                writeln!(out, "{}", line(&self.model, symbol, ts_recv, &output))?;
            } else {
                writeln!(out, "{}", row(symbol, ts_recv, &output))?;
            }
        }
        out.flush()?;
        writeln!(io::stderr(), "{outputs} outputs of {}", self.model)?;
        for torn in log.torn() {
            let (path, offset) = (torn.path.display(), torn.offset);
            writeln!(io::stderr(), "{path}: ends torn at byte {offset} ({})", torn.reason)?;
        }
        Ok(())
    }

    fn check(&self, symbols: &[Symbol]) -> Result<(), Failure> {
        let of_symbols: BTreeSet<_> = symbols.iter().flat_map(|symbol| &symbol.models).collect();
        if !of_symbols.contains(&self.model) {
            let names: Vec<_> = of_symbols.into_iter().map(String::as_str).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Failure::Failed(format!(
                "the log has no model {}, it has {names}; the engine takes outputs of the models that its \
                 configuration names in [models.*]",
                self.model
            )));
        }
        let known = |wanted: &String| symbols.iter().any(|symbol| symbol.name == *wanted);
        if let Some(unknown) = self.symbol.as_ref().filter(|wanted| !known(wanted)) {
            let names: Vec<_> = symbols.iter().map(|symbol| symbol.name.as_str()).collect();
            let names = names.join(", ");
            return Err(Failure::Failed(format!(
                "the log has no symbol {unknown}, it has {names}"
            )));
        }
        Ok(())
    }

    /// The output in an input, if it is one that was asked for.
    fn wanted<'s>(
        &self,
        input: &Input<'_>,
        symbols: &'s [Symbol],
    ) -> Result<Option<(&'s str, ModelOutput)>, Failure> {
        if input.kind != InputKind::Model {
            return Ok(None);
        }
        let symbol = symbols.get(input.symbol.at());
        let model = symbol
            .and_then(|symbol| symbol.models.get(usize::try_from(input.aux).unwrap_or(usize::MAX)));
        let (Some(symbol), Some(model), Some(output)) =
            (symbol, model, ModelOutput::from_bytes(input.bytes))
        else {
            return Err(Failure::Failed(format!(
                "input {} is no output of a model that the log's settings name",
                input.stamp.input_seq
            )));
        };
        let asked = *model == self.model
            && self.symbol.as_ref().is_none_or(|wanted| *wanted == symbol.name);
        Ok(asked.then_some((symbol.name.as_str(), output)))
    }
}

/// A symbol of the log, and its models in the order of their numbers.
struct Symbol {
    name: String,
    models: Vec<String>,
}

fn symbols(settings: &str) -> Result<Vec<Symbol>, Failure> {
    let symbols = Config::from_fold_text(settings)?.symbols.into_iter();
    Ok(symbols
        .map(|symbol| Symbol { name: symbol.instrument.symbol.to_string(), models: symbol.models })
        .collect())
}

/// One output as the window's row has it, with what only the log tells.
fn line(model: &str, symbol: &str, ts_recv: Nanos, output: &ModelOutput) -> Value {
    json!({
        "model": model,
        "symbol": symbol,
        "ts_recv": ts_recv.0,
        "seq": output.answers_seq,
        "input_seq": output.answers_input_seq,
        "action": output.action(),
        "outputs": output.outputs(),
        "value": output.value(),
        "confidence": output.confidence(),
        "horizon": output.horizon.get(),
        "state": output.state(),
        "ts_model": output.ts_model.get(),
        "pid": output.pid,
    })
}

const HEADER: &str =
    "symbol                 ts_recv        seq action      value     conf.  outputs";

fn row(symbol: &str, ts_recv: Nanos, output: &ModelOutput) -> String {
    let number = |number: Option<f64>| number.map_or("–".to_owned(), |n| format!("{n:.4}"));
    let outputs: Vec<String> = output.outputs().iter().map(|n| format!("{n:.4}")).collect();
    format!(
        "{symbol:<9} {:>20} {:>10} {:>6} {:>10} {:>9}  {}",
        ts_recv.0,
        output.answers_seq,
        output.action().map_or("–".to_owned(), |action| action.to_string()),
        number(output.value()),
        number(output.confidence()),
        outputs.join(" "),
    )
}
