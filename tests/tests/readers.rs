//! The readers in Python and C: their package is built as a user builds it, and their own tests run.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::Command;

use cobring_tests::program;

#[test]
fn the_readers_in_python_and_c_pass_their_tests() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|python| python.status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no python3");
        eprintln!("skipped: no python3");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/python/test.sh");
    // Its output is the test's: what pytest says of a failure is what one wants to read.
    let status = Command::new(&script).env("COBRING_BIN", program()).status().unwrap();
    assert!(status.success(), "{}: {status}", script.display());
}
