//! A client library that we did not write (ccxt) uses the simulator by base URL alone.
//!
//! It runs where Python has ccxt, or where `COBRING_CCXT_PYTHON` names such a Python; with CI=true a virtual
//! environment is made for it in the target folder. Elsewhere it prints why it is skipped.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::Command;

use cobring_sim::{SimConfig, Source, Speed, SyntheticConfig, start};

const CCXT: &str = "ccxt==4.5.90";

#[test]
fn ccxt_follows_the_book_and_it_equals_the_truth() {
    let Some(python) = python_with_ccxt() else { return };
    let market = SyntheticConfig::new(3, &["ETHUSDT", "BTCUSDT"]);
    let sim =
        start(&SimConfig { speed: Speed::Times(2.0), ..SimConfig::new(Source::Synthetic(market)) })
            .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign_client.py");
    let run =
        Command::new(python).arg(script).args([sim.rest_url(), sim.ws_url()]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}\n{err}");
    assert!(out.contains("equal to the truth"), "{out}");
    eprint!("{out}");
    assert_eq!(sim.stats().unwrap().rate_disconnects, 0);
}

fn python_with_ccxt() -> Option<PathBuf> {
    let named = std::env::var_os("COBRING_CCXT_PYTHON").map(PathBuf::from);
    let has_ccxt = |python: &Path| {
        Command::new(python)
            .args(["-c", "import ccxt.pro"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ccxt-venv");
    let in_venv = venv.join("bin/python");
    for python in named.into_iter().chain([PathBuf::from("python3"), in_venv.clone()]) {
        if has_ccxt(&python) {
            return Some(python);
        }
    }
    if std::env::var("CI").as_deref() != Ok("true") {
        eprintln!(
            "skipped: no Python with ccxt (pip install {CCXT}, or name one in COBRING_CCXT_PYTHON)"
        );
        return None;
    }
    assert!(Command::new("python3").args(["-m", "venv"]).arg(&venv).status().unwrap().success());
    let pip =
        Command::new(&in_venv).args(["-m", "pip", "install", "--quiet", CCXT]).status().unwrap();
    assert!(pip.success(), "pip install {CCXT}");
    Some(in_venv)
}
