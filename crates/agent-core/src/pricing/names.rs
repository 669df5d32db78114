//! The many ways to write one model's name.

/// What all spellings of a name have in common, or the name itself where it has no variants.
///
/// Taken off: a vendor (`anthropic/`, `us.anthropic.`), a revision (`-v1:0`), a date
/// (`-20250929`, `@20250929`) and `-latest`. A Claude name is then put in one order, the family
/// before the version: `claude-4-sonnet`, `claude-sonnet-4-0` and `claude-sonnet-4` are one.
pub(super) fn family(name: &str) -> String {
    let name = without_date(without_vendor(name));
    match name.strip_prefix("claude-") {
        Some(rest) => in_one_order(rest),
        None => name.to_owned(),
    }
}

/// The name without vendor and revision, the date kept.
pub(super) fn without_vendor(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = match name.find("anthropic.") {
        Some(at) => &name[at + "anthropic.".len()..],
        None => name,
    };
    match name.rsplit_once("-v") {
        Some((front, revision)) if is_revision(revision) => front,
        _ => name,
    }
}

/// `1:0` or `2`, after `-v`.
fn is_revision(text: &str) -> bool {
    let (major, minor) = text.split_once(':').unwrap_or((text, "0"));
    is_number(major) && is_number(minor)
}

fn without_date(name: &str) -> &str {
    let cut = name.rsplit_once('@').or_else(|| name.rsplit_once('-'));
    match cut {
        Some((front, "latest")) if !front.is_empty() => front,
        Some((front, date)) if !front.is_empty() && date.len() == 8 && is_number(date) => front,
        _ => name,
    }
}

/// `4-5-sonnet` and `sonnet-4.5` as `claude-sonnet-4-5`; a last `-0` says nothing.
fn in_one_order(rest: &str) -> String {
    let parts: Vec<&str> = rest.split(['-', '.']).collect();
    let (mut version, words): (Vec<&str>, Vec<&str>) =
        parts.into_iter().partition(|part| is_number(part));
    if version.len() > 1 && version.last() == Some(&"0") {
        version.pop();
    }
    let mut family = "claude".to_owned();
    for part in words.into_iter().chain(version) {
        family.push('-');
        family.push_str(part);
    }
    family
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_name_share_one_family() {
        for name in [
            "claude-sonnet-4",
            "claude-4-sonnet",
            "claude-sonnet-4-0",
            "claude-sonnet-4-latest",
            "claude-4-sonnet-20250514",
            "claude-sonnet-4@20250514",
            "anthropic/claude-sonnet-4",
            "openrouter/anthropic/claude-sonnet-4",
            "us.anthropic.claude-sonnet-4-20250514-v1:0",
            "anthropic.claude-sonnet-4-20250514-v1:0",
        ] {
            assert_eq!(family(name), "claude-sonnet-4", "{name}");
        }
        assert_eq!(family("claude-3.5-haiku"), family("claude-haiku-3-5"));
    }

    #[test]
    fn different_models_never_share_a_family() {
        let names = ["claude-sonnet-4", "claude-sonnet-4-5", "claude-opus-4", "claude-opus-4-5-x"];
        for (at, name) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                assert_ne!(family(name), family(other));
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_date_or_a_revision_stays() {
        for name in
            ["my-model-7", "my-model-v", "model-2025092", "-20250929", "@latest", "", "é-v1x"]
        {
            assert_eq!(family(name), name);
        }
    }
}
