//! The order of crates (DESIGN.md, section 2) against the manifests.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::path::Path;

use toml::Table;

/// From the bottom up: a crate may use only those before it.
const ENGINE: [&str; 6] = ["types", "json", "frame", "venue", "market", "pipeline"];
/// What belongs to the control plane.
const NOT_IN_THE_ENGINE: [&str; 14] = [
    "tokio",
    "async-std",
    "smol",
    "hyper",
    "axum",
    "reqwest",
    "tokio-tungstenite",
    "tokio-postgres",
    "postgres",
    "sqlx",
    "redis",
    "rusqlite",
    "parquet",
    "arrow",
];

fn manifest(folder: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("Cargo.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Every crate that a manifest names, for building, testing or one platform too.
fn dependencies(table: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            found.extend(inner.iter().map(|(name, dependency)| {
                let renamed = dependency.get("package").and_then(|package| package.as_str());
                renamed.unwrap_or(name).to_owned()
            }));
        } else if key != "workspace" {
            found.extend(dependencies(inner));
        }
    }
    found
}

fn own(folder: &str) -> Vec<String> {
    let all = dependencies(&manifest(folder));
    all.iter().filter_map(|name| name.strip_prefix("cobring-")).map(str::to_owned).collect()
}

#[test]
fn a_crate_of_the_engine_uses_only_those_before_it() {
    for (at, name) in ENGINE.iter().enumerate() {
        for used in own(&format!("engine/{name}")) {
            assert!(ENGINE[..at].contains(&used.as_str()), "engine/{name} uses {used}");
        }
    }
}

#[test]
fn every_crate_of_the_engine_has_its_place_in_the_order() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine");
    for entry in std::fs::read_dir(engine).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        assert!(ENGINE.contains(&name.as_str()), "engine/{name}");
    }
}

#[test]
fn the_engine_has_no_async_runtime_and_no_database() {
    for name in ENGINE {
        let used = dependencies(&manifest(&format!("engine/{name}")));
        let forbidden: Vec<_> =
            NOT_IN_THE_ENGINE.iter().filter(|name| used.contains(**name)).collect();
        assert!(forbidden.is_empty(), "engine/{name} uses {forbidden:?}");
    }
}

#[test]
fn what_checks_the_engine_shares_no_code_with_it() {
    assert!(own("tools/sim").iter().all(|used| used == "types"), "{:?}", own("tools/sim"));
    assert_eq!(own("tests/reference"), [] as [&str; 0]);
    assert_eq!(own("tests"), ["reference"]);
}
