//! The program under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::process::{Finished, Process};

/// A replay of both recordings in an unoptimised build on a busy machine.
const REPLAY_MAX: Duration = Duration::from_secs(180);

/// The binary: that of `COBRING_BIN`, or built now, with the profile of this test.
#[must_use]
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var_os("COBRING_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    // target/<profile>/deps/<this test>
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
    let target = profile.parent().expect("a profile lies in the target directory");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        // The features of the whole workspace, so that most of what its tests have been built from serves. Not all: a crate
        // that has more features as a test's dependency is built once more, which `.ci/run` spares itself by `COBRING_BIN`.
        .args(["build", "--quiet", "--workspace", "--bin", "cobring", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let built = command.output().expect("cargo starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    profile.join("cobring")
}

/// Runs the program to its end.
#[must_use]
pub fn cobring<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    Process::start(args).finish(REPLAY_MAX)
}

/// The hash over all frames of all symbols that a replay of these files gives.
#[must_use]
pub fn replay_hash(files: &[PathBuf], layout: &str) -> String {
    let mut args: Vec<&std::ffi::OsStr> =
        vec!["replay".as_ref(), "--json".as_ref(), "--layout".as_ref(), layout.as_ref()];
    args.extend(files.iter().map(|file| file.as_os_str()));
    let summary = cobring(args).succeeded().json();
    summary["hash"].as_str().expect("a replay with --json has a hash").to_owned()
}

/// These files replay to that hash, however the stages are joined.
///
/// # Panics
/// Where they do not.
#[track_caller]
pub fn assert_replays_to(hash: &serde_json::Value, files: &[PathBuf]) {
    for layout in ["fused", "staged", "by-symbol"] {
        assert_eq!(*hash, replay_hash(files, layout), "{layout}");
    }
}
