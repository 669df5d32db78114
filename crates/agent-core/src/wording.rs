//! Names in messages: what may be shown, and what was probably meant.

/// A name as it may be shown: one that could be a key is not.
pub(crate) fn shown(name: &str) -> &str {
    let plain = name.chars().all(|c| !c.is_control());
    if plain && name.len() <= 64 && !name.to_ascii_lowercase().contains("sk-") {
        name
    } else {
        "…"
    }
}

/// The known word nearest to `word`, if one is near.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > 64 {
        return None;
    }
    let score = |key: &str| strsim::jaro_winkler(word, key);
    let best = known.iter().copied().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(best) >= 0.8).then_some(best)
}
