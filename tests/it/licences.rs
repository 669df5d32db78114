//! Every package that is built in has a licence that may be.

use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than to be named.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an SPDX expression (AND binds closer than OR) can be met with what is allowed.
fn is_met(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    met_tokens(&mut expression.replace('(', " ( ").replace(')', " ) ").split_whitespace().collect())
}

/// Evaluates tokens from the front, up to a closing bracket.
fn met_tokens(tokens: &mut std::collections::VecDeque<&str>) -> bool {
    let (mut any, mut all) = (false, true);
    while let Some(token) = tokens.pop_front() {
        match token {
            ")" => break,
            "OR" => (any, all) = (any || all, true),
            "AND" => {}
            "(" => all &= met_tokens(tokens),
            name => {
                let mut name = name.to_owned();
                if tokens.front() == Some(&"WITH") {
                    tokens.pop_front();
                    name = format!("{name} WITH {}", tokens.pop_front().unwrap_or_default());
                }
                all &= ALLOWED.contains(&name.as_str());
            }
        }
    }
    any || all
}

#[test]
fn an_expression_is_met_only_by_allowed_licences() {
    for good in ["MIT", "GPL-3.0 OR MIT", "(MIT OR GPL-3.0) AND ISC", "Unlicense/MIT"] {
        assert!(is_met(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0"] {
        assert!(!is_met(bad), "{bad}");
    }
}

#[test]
fn every_package_comes_from_the_registry_with_an_allowed_licence() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // What is built here was downloaded; packages for other platforms need not be.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", host])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50);
    for package in packages {
        let name = &package["name"];
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_met(licence) && !licence.is_empty(), "{name} has the licence {licence:?}");
        let source = package["source"].as_str().unwrap_or("registry+here");
        assert!(source.starts_with("registry+"), "{name} comes from {source}");
    }
}
