//! What a request may hold: the model's window and its longest answer, and the API's largest body.

use agent_core::pricing::Model;

/// The largest body of a request, in bytes: 32 MB, as the API documents it.
pub(crate) const LARGEST_BODY: usize = 32_000_000;

/// The message of a 400 where `model`, asked for as `asked`, has no room for so much input or
/// output, in the API's own words. Not known is not limited.
pub(crate) fn too_long(model: &Model, asked: &str, input: u64, max_tokens: u64) -> Option<String> {
    if let Some(most) = model.max_output().map(u64::from).filter(|most| max_tokens > *most) {
        let what = "which is the maximum allowed number of output tokens for";
        return Some(format!("max_tokens: {max_tokens} > {most}, {what} {asked}"));
    }
    let window = model.context_window().filter(|window| input > *window)?;
    Some(format!("prompt is too long: {input} tokens > {window} maximum"))
}
