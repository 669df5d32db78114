//! Rules about the source itself that the compiler cannot check.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `agent-core`, lowest layer first. A module imports only from the layers before
/// its own, so there are no cycles. ARCHITECTURE.md draws the same list.
const LAYERS: &[&[&str]] = &[
    &["hash", "lookup", "money", "panics", "usage", "wording"],
    &["clock"],
    &["doing", "task"],
    &["estimate", "ledger", "permits", "pricing", "prompt", "queue", "retry", "supervision"],
    &["record"],
    &["audit", "llm"],
    &["agent", "tasks"],
    &["config"],
    &["budget", "guard", "rate_limiter", "store", "watchdog"],
    &["worker"],
    &["coordinator"],
    &["system"],
];

/// A longer file holds two subjects.
const MAX_LINES: usize = 400;

/// The roots of the sources that these rules are for.
const CRATES: &[&str] = &["agent-core", "agent-sim", "agent-cli"];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("add `{module}` to LAYERS"))
}

/// The modules that a source names as `crate::module`.
fn imports(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next())
        .filter(|module| !module.is_empty())
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn crate_sources(name: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let root = workspace().join("crates").join(name);
    sources(&root.join("src"), &mut found);
    assert!(!found.is_empty(), "no sources under {}", root.display());
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_source_is_short_and_says_what_it_is_for() {
    for (path, source) in CRATES.iter().flat_map(|name| crate_sources(name)) {
        let (path, lines) = (path.display(), source.lines().count());
        assert!(lines <= MAX_LINES, "{path} has {lines} lines: two subjects?");
        assert!(source.starts_with("//! "), "{path} does not say what it is for");
    }
}

#[test]
fn modules_of_the_core_import_only_from_lower_layers() {
    let root = workspace().join("crates/agent-core/src");
    for (path, source) in crate_sources("agent-core") {
        let inside = path.strip_prefix(&root).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        for import in imports(&source).filter(|import| *import != module) {
            let place = inside.display();
            assert!(layer(import) < layer(module), "{place} must not import `{import}`");
        }
    }
}

#[test]
fn the_core_logs_only_where_a_panic_of_who_listens_goes_no_further() {
    for (path, source) in crate_sources("agent-core") {
        if path.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        for level in ["error", "warn", "info", "debug", "trace"] {
            let plain = source.contains(&format!("tracing::{level}!"));
            let names_it =
                |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(|w| w == level);
            let named =
                source.lines().any(|line| line.starts_with("use tracing::") && names_it(line));
            assert!(!plain && !named, "{}: use `panics::log`", path.display());
        }
    }
}

#[test]
fn every_select_is_biased() {
    for (path, source) in CRATES.iter().flat_map(|name| crate_sources(name)) {
        for (at, _) in source.match_indices("select! {") {
            let rest = source[at + "select! {".len()..].trim_start();
            assert!(rest.starts_with("biased;"), "{} has a random select!", path.display());
        }
    }
}
