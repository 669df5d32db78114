//! The official Python SDK against the mock provider, in each line of it that is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Place, stderr, stdout};

/// The environment of this name that `tests/python/setup.sh` has made, if it has.
pub(crate) fn environment(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let place = target.join("python").join(name);
    place.join("ready").exists().then_some(place)
}

#[test]
#[expect(clippy::print_stderr, reason = "what was not checked is told")]
fn the_python_sdk_works_unchanged_against_the_mock_provider() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python");
    let scenario = std::fs::read_to_string(scripts.join("scenario.toml")).unwrap();
    let environments: Vec<_> = ["sdk1", "sdk2"].into_iter().filter_map(environment).collect();
    if environments.is_empty() {
        eprintln!("skipped: no Python SDK is installed; tests/python/setup.sh installs it");
    }
    for environment in environments {
        let place = Place::new();
        let mock = place.mock(&scenario);
        let output = Command::new(environment.join("bin/python"))
            .arg(scripts.join("anthropic_sdk.py"))
            .arg(&mock.url)
            // No key, proxy or setting of the person who runs this.
            .env_clear()
            .output()
            .unwrap();
        let (told, failed) = (stdout(&output), stderr(&output));
        assert!(output.status.success(), "{}:\n{told}{failed}", environment.display());
        eprintln!("{told}");
        // The key stands in no line of the bill but for its end.
        let ledger = place.read("ledger.jsonl");
        assert!(ledger.contains("\"key\":\"0001\"") && !ledger.contains("sk-ant"), "{ledger}");
    }
}
